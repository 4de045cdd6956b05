// Soft masks of a grid at single pixels of a frame.
#pragma once

#include "grid_axis.h"
#include "launch.cuh"
#include "mask_grid_cuda.h"
#include "soft_mask.h"

namespace solo {

struct MaskGrid {
  const uint8_t* data;
  const int32_t* regions;
  const int32_t* count;
  int capacity;
  Axis y, x;

  __device__ int masks() const { return min(*count, capacity); }
  __device__ const uint8_t* mask(int index) const { return data + int64_t{index} * y.cells * x.cells; }
};

inline int check_grid(const SoloMaskGrid& masks, int height, int width) {
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide || masks.capacity < 1) return SOLO_BAD_SIZE;
  if (masks.grid_height < 1 || masks.grid_width < 1) return SOLO_BAD_SIZE;
  if (masks.grid_height > kMaxCells || masks.grid_width > kMaxCells) return SOLO_BAD_SIZE;
  for (const double step : {masks.step_y, masks.step_x}) {
    if (!(step >= 0x1p-31 && step <= 0x1p14)) return SOLO_BAD_ARGUMENT;
  }
  return SOLO_OK;
}

inline MaskGrid make_grid(const SoloMaskGrid& masks) {
  return {masks.data,
          masks.regions,
          masks.count,
          masks.capacity,
          make_axis(masks.grid_height, masks.step_y),
          make_axis(masks.grid_width, masks.step_x)};
}

// The grid cells, first to last, that the pixels first..last of an axis take their samples from.
struct CellRange {
  int first, last;

  __device__ CellRange(const Axis& axis, int first_pixel, int last_pixel)
      : first(axis.position(first_pixel) >> Axis::kBits),
        last(min((axis.position(last_pixel) >> Axis::kBits) + 1, axis.cells - 1)) {}

  // Whether any of them lies in begin..end - 1.
  __device__ bool meets(int begin, int end) const { return begin <= last && end > first; }
};

// Whether a mask holds the pixel with these positions on the grid. Behind the last cell the weight is 0.
__device__ inline bool holds(const MaskGrid& grid, const uint8_t* mask, int position_y, int position_x) {
  const int row = position_y >> Axis::kBits, column = position_x >> Axis::kBits;
  const uint8_t* top = mask + row * grid.x.cells;
  const uint8_t* bottom = mask + min(row + 1, grid.y.cells - 1) * grid.x.cells;
  const int right = min(column + 1, grid.x.cells - 1);
  return is_inside(top[column], top[right], bottom[column], bottom[right], position_y & (Axis::kOne - 1),
                   position_x & (Axis::kOne - 1));
}

}  // namespace solo
