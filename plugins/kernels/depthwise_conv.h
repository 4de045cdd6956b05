// Depthwise 3x3 convolution in training, forward and backward, of maps with channels last.
#pragma once

#include "bfloat16.h"
#include "status.h"

namespace solo {

constexpr int kTaps = 9;

// Of maps x [batch, height, width, channels], zero outside.
struct DepthwiseConv {
  int64_t batch, height, width, channels;
  int64_t stride, dilation, padding;
  const float* weights;  // [channels, kTaps], the taps row by row

  int64_t out_height() const { return (height + 2 * padding - 2 * dilation - 1) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - 2 * dilation - 1) / stride + 1; }
};

// Bytes of the workspace that both functions take; -1 if the sizes are out of range or nothing is left of the maps.
int64_t depthwise_conv_workspace(const DepthwiseConv& conv);

// Writes y [batch, out_height, out_width, channels]. T is float or Bfloat16; sums are float.
// Returns kBadSize where there is no workspace, kBadArgument for threads < 1 or an instruction set that the CPU
// lacks, kTooSmall for a workspace that is.
template <typename T>
Status depthwise_conv(const DepthwiseConv& conv, const T* x, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, T* y);

// Writes the gradients dx, of the shape of x, and dweights [channels, kTaps] that belong to dy, that of y.
// The same bits come out whatever the number of threads.
template <typename T>
Status depthwise_conv_gradient(const DepthwiseConv& conv, const T* x, const T* dy, int threads, Isa isa,
                               void* workspace, int64_t workspace_bytes, T* dx, float* dweights);

}  // namespace solo
