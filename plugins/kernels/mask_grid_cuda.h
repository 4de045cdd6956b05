/* Soft masks on the decoder's grid, in device memory: what solo_cuda_soft_masks writes for one picture. */
#pragma once

#include "cuda_abi.h"

/* Masks from *count on do not exist. Frame pixels lie on the grid as Note [Soft mask arithmetic] of soft_mask.h says.
 */
typedef struct SoloMaskGrid {
  const uint8_t* data;    /* [capacity, grid_height, grid_width], above 127 inside, 0 outside the region */
  const int32_t* regions; /* [capacity, 4] xyxy half-open in grid cells */
  const int32_t* count;   /* [1] */
  int32_t capacity;
  int32_t grid_height, grid_width; /* 1..4096 */
  double step_y, step_x;           /* grid cells per frame pixel, 2^-31..2^14 */
} SoloMaskGrid;
