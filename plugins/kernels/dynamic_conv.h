// Dynamic convolution: mask logits = kernels . features, reduced on the fly to what the decoder needs of them.
//
// Neither function ever writes a [rows, pixels] float tensor: logits exist for 6 rows and 8 x 8 pixels at a time, in
// cache. Both compute them by the same code, so that a pixel's bit and its soft value never contradict each other.
#pragma once

#include <cstdint>

#include "instruction_set.h"
#include "status.h"

namespace solo {

// Mask r at pixel p has the logit sum over e of kernels[cells[r], e] * features[e, p].
struct DynamicConv {
  const float* kernels;   // [any, channels] contiguous
  const int32_t* cells;   // [rows] kernel of each mask; the caller vouches for the range
  const float* features;  // [channels, height * width] contiguous
  int64_t rows;
  int64_t channels;
  int64_t height;
  int64_t width;
};

constexpr int kTileSide = 8;  // cells

// Number of 64-bit words of one bit mask: one per tile of 8 x 8 cells, tiles row-major. Cell (x, y) is bit
// y % 8 * 8 + x % 8 of word y / 8 * ceil(width / 8) + x / 8; bits behind the right and lower edge are 0. A model's grid
// has no such edge: both sides are divisible by 8.
constexpr int64_t mask_words(int64_t height, int64_t width) {
  return (height + kTileSide - 1) / kTileSide * ((width + kTileSide - 1) / kTileSide);
}

// Bytes of scratch memory that either function needs, at any alignment; -1 if they refuse the sizes or the threads.
int64_t dynamic_conv_workspace(const DynamicConv& conv, int threads);

// Writes, for each row: the bit mask `logit > logit_threshold`, its area (set bits), and the sum of sigmoid(logit) over
// the set bits. NaN logits set no bit.
//
// bits uint64 [rows, mask_words(height, width)], areas int32 [rows], soft_sums float32 [rows].
// The result does not depend on `threads`. Returns kBadSize or kBadArgument on sizes or threads below 1 (rows may be
// 0), kBadSize for those beyond 2^31 or that need more than kMostWorkspace, kTooSmall if the workspace is smaller than
// dynamic_conv_workspace says.
Status binarise_masks(const DynamicConv& conv, float logit_threshold, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, uint64_t* bits, int32_t* areas, float* soft_sums);

// Writes the soft masks inside their regions as `round(255 * sigmoid(logit - logit_threshold))`, at least 128 where
// logit > logit_threshold and at most 127 elsewhere.
//
// regions int32 [rows, 4] xyxy half-open inside the grid, offsets int64 [rows + 1] with offsets[r + 1] - offsets[r] =
// region area, data uint8 [offsets[rows]]: crops one after another, row-major. Statuses as above.
Status crop_masks(const DynamicConv& conv, float logit_threshold, int threads, Isa isa, void* workspace,
                  int64_t workspace_bytes, const int32_t* regions, const int64_t* offsets, uint8_t* data);

}  // namespace solo
