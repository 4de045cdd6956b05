// Soft masks on the decoder's grid, as every mask kernel takes them.
//
// Note [Soft mask arithmetic]
// A mask is a grid of uint8 samples, zero outside its region. Frame pixel p of one axis lies at grid position
// (p + 0.5) * step - 0.5, rounded to 1/2048 of a cell (the resolution of OpenCV's INTER_LINEAR) and clamped to the
// grid. The bilinear value is then an integer: with fractions f and g in 0..2047,
//     value = (2048 - g) * A + g * B,   A = (2048 - f) * s00 + f * s10,   B = (2048 - f) * s01 + f * s11,
// at most 255 * 2^22 < 2^31, and a pixel is inside where value > 127.5 * 2^22. Nothing is rounded after the position,
// so interpolating rows first or columns first gives the same integer, and every kernel gives the same pixels.
#pragma once

#include <cstdint>

#include "frame_size.h"
#include "status.h"

namespace solo {

// Pointers are borrowed for the duration of a call.
struct SoftMasks {
  const uint8_t* data;  // crops one after another, row-major
  int64_t data_size;
  const int64_t* offsets;  // [count + 1] slice of data
  const int32_t* regions;  // [count, 4] xyxy in cells, half-open
  int64_t count;
  int grid_height, grid_width;
  double step_y, step_x;  // cells per frame pixel
};

constexpr int kMaxCells = 4096;  // of a grid: a network input of 16384 pixels

// kBadSize where the frame or the grid is empty or too large, or regions leave the grid or do not fit their slice of
// data; kBadArgument for a step outside 2^-31..2^14. Every mask kernel checks this first.
Status check_masks(const SoftMasks& masks, FrameSize frame);

}  // namespace solo
