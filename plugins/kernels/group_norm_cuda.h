/* Group normalisation and ReLU in one, on the GPU. */
#pragma once

#include "cuda_abi.h"

typedef struct SoloGroupNorm {
  int32_t type;                    /* SoloType of input and output */
  int32_t batch, channels, pixels; /* batch up to 65535 */
  int32_t groups;                  /* divides channels, up to 65535; a group has 256 channels at most */
  int32_t relu;                    /* 0 or 1 */
  float epsilon;                   /* > 0 */
} SoloGroupNorm;

/* Writes (x - mean) / sqrt(variance + epsilon) * gamma[c] + beta[c], where mean and (biased) variance are those of a
 * group of neighbouring channels of one picture, at least 0 with relu. Statistics are FP32 and exact for data far from
 * zero: the sum of squared differences from the mean, never a difference of squares.
 *
 * input and output [batch, pixels, channels], which may be the same; gamma and beta float [channels].
 * Source: arXiv 1803.08494, equations 1 to 7.
 */
SOLO_CUDA_API int solo_cuda_group_norm(const SoloGroupNorm* sizes /* host */, const void* input, const float* gamma,
                                       const float* beta, void* workspace, int64_t workspace_bytes, void* output,
                                       void* stream);

SOLO_CUDA_API int64_t solo_cuda_group_norm_workspace(const SoloGroupNorm* sizes /* host */);
