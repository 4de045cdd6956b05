/* Soft masks of the instances on the GPU. */
#pragma once

#include "dynamic_conv_cuda.h"

/* Writes the region and the soft mask of the first num_dets[b] instances of each picture, as mask_regions and
 * crop_masks do on the CPU.
 *
 * shape: slots is N here, cells gives the kernel of an instance with divisor 1. kernels and features as for
 * solo_cuda_binarise_masks, with which `masks` [batch, mask_slots, words] were made; num_dets int32 [batch],
 * cells and mask_slots_of int32 [batch, N]: kernel and mask of an instance.
 * regions int32 [batch, N, 4] xyxy half-open in grid cells: the box of the set bits, one wider on every side that the
 * grid allows; 0 for an empty mask, for one that is none of `masks`, and from num_dets on.
 * soft uint8 [batch, N, height * width]: round(255 * sigmoid(logit - logit_threshold)) inside the region, at least 128
 * where logit > logit_threshold and at most 127 elsewhere; 0 outside the region; not written from num_dets on.
 */
SOLO_CUDA_API int solo_cuda_soft_masks(const SoloConvShape* shape /* host */, const void* kernels, const void* features,
                                       const uint32_t* masks, int32_t mask_slots, const int32_t* num_dets,
                                       const int32_t* cells, const int32_t* mask_slots_of, float logit_threshold,
                                       int32_t* regions, uint8_t* soft, void* stream);
