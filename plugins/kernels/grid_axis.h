// The arithmetic of Note [Soft mask arithmetic] in soft_mask.h, for single pixels.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace solo {

// One axis of the frame laid over the same axis of the grid. Positions are in 1/2048 of a cell.
struct Axis {
  static constexpr int kBits = 11;
  static constexpr int kOne = 1 << kBits;
  static constexpr int kPitchBits = 31;
  static constexpr int kShift = kPitchBits + 1 - kBits;  // (2p + 1) * pitch counts 2^-32 of a cell
  static constexpr int64_t kHalfCell = int64_t{1} << kPitchBits;
  static constexpr int64_t kHalfUnit = int64_t{1} << (kShift - 1);

  int cells;
  int64_t pitch;  // cells per pixel in 2^-31

  SOLO_HOST_DEVICE int32_t position(int pixel) const {
    const int64_t exact = (2 * int64_t{pixel} + 1) * pitch - kHalfCell;
    const int64_t rounded = (exact + kHalfUnit) >> kShift, last = int64_t{cells - 1} << kBits;
    return static_cast<int32_t>(rounded < 0 ? 0 : rounded > last ? last : rounded);
  }
  // First pixel, counted from 0 and without an upper end, whose position is at least `position`.
  SOLO_HOST_DEVICE int64_t first_pixel(int64_t position) const {
    if (position <= 0) return 0;
    // position(p) >= position means 2p + 1 >= q = ceil(least / pitch), and the least such p is floor(q / 2).
    const int64_t least = (position << kShift) + kHalfCell - kHalfUnit;
    return (least + pitch - 1) / pitch / 2;
  }
};

inline Axis make_axis(int cells, double step) { return {cells, std::llround(std::ldexp(step, Axis::kPitchBits))}; }

// Whether the value between four samples exceeds 127.5; the fractions are of the second row and of the second column.
SOLO_HOST_DEVICE bool is_inside(int32_t s00, int32_t s01, int32_t s10, int32_t s11, int32_t row_fraction,
                                int32_t column_fraction) {
  const int32_t left = (Axis::kOne - row_fraction) * s00 + row_fraction * s10;
  const int32_t right = (Axis::kOne - row_fraction) * s01 + row_fraction * s11;
  return (Axis::kOne - column_fraction) * left + column_fraction * right > 255 << (2 * Axis::kBits - 1);
}

}  // namespace solo
