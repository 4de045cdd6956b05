/* Soft masks at the size of the frame, on the GPU. */
#pragma once

#include "mask_grid_cuda.h"

/* Writes the pixels of the first *count masks, and their tight boxes.
 *
 * pixels uint32 [capacity, height, ceil(width / 32)]: pixel x of a row is bit x % 32 of its word x / 32; unused bits
 * are 0; not written from *count on. boxes float [capacity, 4] xyxy half-open in frame pixels; 0 for a mask without a
 * pixel and from *count on. As fill_mask and mask_boxes do on the CPU.
 */
SOLO_CUDA_API int solo_cuda_fill_masks(const SoloMaskGrid* masks /* host */, int32_t height, int32_t width,
                                       uint32_t* pixels, float* boxes, void* stream);
