/* Candidates on the GPU: the best (cell, class) pairs of each picture, in a fixed number of slots. */
#pragma once

#include "cuda_abi.h"

/* Writes, for each picture, the `slots` highest of the scores above the threshold, descending; equal ones by ascending
 * index. However many there are, these are exactly the best.
 *
 * scores [batch, count] of a SoloType, count = cells * classes below 2^31; NaN is never above the threshold.
 * best_scores float [batch, slots], candidates int32 [batch, slots] the indices into count; 0 from n on.
 * counts int32 [batch, 2]: n = min(found, slots), and found. slots is 1..SOLO_MAX_SLOTS.
 */
SOLO_CUDA_API int solo_cuda_find_candidates(const void* scores, int32_t type, int32_t batch, int64_t count,
                                            float threshold, int32_t slots, void* workspace, int64_t workspace_bytes,
                                            float* best_scores, int32_t* candidates, int32_t* counts, void* stream);

SOLO_CUDA_API int64_t solo_cuda_find_candidates_workspace(int32_t batch, int64_t count);
