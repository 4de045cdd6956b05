// The gradient of the weights of a convolution in training, of maps with channels last.
#pragma once

#include <cstdint>

#include "instruction_set.h"
#include "status.h"

namespace solo {

// From maps x [batch, height, width, channels], zero outside, to y [batch, out_height(), out_width(), out_channels],
// by a square of kernel x kernel taps.
struct Convolution {
  int64_t batch, height, width, channels, out_channels;
  int64_t kernel, stride, dilation, padding;

  int64_t reach() const { return dilation * (kernel - 1); }
  int64_t out_height() const { return (height + 2 * padding - reach() - 1) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - reach() - 1) / stride + 1; }
};

// Bytes of the workspace; -1 if the sizes are out of range or nothing is left of the maps.
int64_t weight_gradient_workspace(const Convolution& conv, int threads);

// Writes dweights [out_channels, channels, kernel, kernel] that belong to dy, of the shape of y. The same bits come out
// whatever the number of threads. Returns kBadSize where there is no workspace, kBadArgument for threads < 1 or an
// instruction set that the CPU lacks, kTooSmall for a workspace that is.
Status weight_gradient(const Convolution& conv, const float* x, const float* dy, int threads, Isa isa, void* workspace,
                       int64_t workspace_bytes, float* dweights);

}  // namespace solo
