/* Dynamic convolution on the GPU: one matrix product over the candidates alone, reduced on the fly to bit masks. */
#pragma once

#include "cuda_abi.h"

/* Sizes of a dynamic convolution. Candidate k of a picture uses kernel candidates[k] / divisor. */
typedef struct SoloConvShape {
  int32_t type;     /* SoloType of kernels and features */
  int32_t batch;    /* 1..65535 */
  int32_t cells;    /* kernels of a picture */
  int32_t channels; /* E */
  int32_t height, width;
  int32_t slots;   /* K */
  int32_t divisor; /* the number of classes, as an index of a candidate is cell * classes + class; 1 for cells */
} SoloConvShape;

/* Words of one bit mask: pixel p = y * width + x is bit p % 32 of word p / 32. */
SOLO_CUDA_API int64_t solo_cuda_mask_words(int32_t height, int32_t width);

/* Writes the bit mask `logit > logit_threshold` of the first counts[b, 0] candidates of each picture, its area, and the
 * sum of sigmoid(logit) over the set bits, where logit[k, p] = sum over e of kernels[.., e] * features[e, p] in FP32.
 * A NaN logit sets no bit.
 *
 * kernels [batch, cells, channels], features [batch, channels, height * width], candidates int32 [batch, slots], all
 * below cells * divisor in the first n slots; counts int32 [batch, 2], of which the first is n.
 * masks uint32 [batch, slots, words], unused bits 0, not written from n on; areas int32 and soft_sums float
 * [batch, slots], 0 from n on.
 */
SOLO_CUDA_API int solo_cuda_binarise_masks(const SoloConvShape* shape /* host */, const void* kernels,
                                           const void* features, const int32_t* candidates, const int32_t* counts,
                                           float logit_threshold, void* workspace, int64_t workspace_bytes,
                                           uint32_t* masks, int32_t* areas, float* soft_sums, void* stream);

SOLO_CUDA_API int64_t solo_cuda_binarise_masks_workspace(const SoloConvShape* shape /* host */);
