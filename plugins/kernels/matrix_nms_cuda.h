/* Matrix NMS on the GPU, from candidates with bit masks to the final instances. */
#pragma once

#include "cuda_abi.h"

typedef struct SoloNmsOptions {
  int32_t batch;                    /* 1..65535 */
  int32_t slots;                    /* K */
  int32_t words;                    /* of a bit mask */
  int32_t classes;                  /* C */
  int32_t levels;                   /* 1..SOLO_MAX_LEVELS */
  int32_t grids[SOLO_MAX_LEVELS];   /* side of each level's grid; the squares add up to at most SOLO_MAX_CELLS */
  int32_t strides[SOLO_MAX_LEVELS]; /* a mask must have more pixels than the stride of its level */
  int32_t linear;                   /* 0: gaussian, 1: linear */
  float sigma;                      /* > 0 */
  float update_threshold;           /* instances score at least this much */
  int32_t max_instances;            /* 1..slots: N */
} SoloNmsOptions;

/* Drops masks that are too small, multiplies the scores by maskness, applies matrix NMS within each class, and keeps
 * the best: the steps 1 to 4 of SoloMatrixNms in plugins/tensorrt/README.md, with the formula of matrix_nms.h.
 *
 * scores float [batch, slots], candidates int32 [batch, slots] cell * C + class, counts int32 [batch, 2] the first of
 * which is the number of candidates, masks uint32 [batch, slots, words], areas int32 and soft_sums float
 * [batch, slots].
 * num_dets int32 [batch], out_scores float, labels, cells and out_slots int32 [batch, max_instances], by descending
 * score, equal ones by ascending candidate; 0 from num_dets on. out_slots says which mask is whose.
 */
SOLO_CUDA_API int solo_cuda_matrix_nms(const SoloNmsOptions* options /* host */, const float* scores,
                                       const int32_t* candidates, const int32_t* counts, const uint32_t* masks,
                                       const int32_t* areas, const float* soft_sums, void* workspace,
                                       int64_t workspace_bytes, int32_t* num_dets, float* out_scores, int32_t* labels,
                                       int32_t* cells, int32_t* out_slots, void* stream);

SOLO_CUDA_API int64_t solo_cuda_matrix_nms_workspace(const SoloNmsOptions* options /* host */);
