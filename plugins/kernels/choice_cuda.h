/* Which instances are painted, and in which colours, on the GPU. */
#pragma once

#include "cuda_abi.h"

typedef struct SoloChoice {
  int32_t slots;    /* of the instances, 1..SOLO_MAX_SLOTS */
  int32_t classes;  /* of the table, 1..SOLO_MAX_CLASSES */
  float min_score;  /* an instance scores at least this much */
  int32_t max_dets; /* most instances to choose, at least 1 */
} SoloChoice;

/* Chooses among the first *count instances, best first, those of a wanted class that score enough, at most max_dets.
 *
 * scores float [slots], labels int32 [slots], regions int32 [slots, 4]. table uint8 [classes, 4]: the colour of a class
 * in the channels of the picture, then 0 where the class is not wanted; a label beyond the table is not wanted either.
 * chosen int32 [slots, 4]: the region of an instance that was chosen, else 0, with which solo_cuda_overlay leaves it
 * out. colours uint8 [slots, 3]: the colour of its class, else 0.
 */
SOLO_CUDA_API int solo_cuda_choose(const SoloChoice* choice /* host */, const int32_t* count, const float* scores,
                                   const int32_t* labels, const int32_t* regions, const uint8_t* table, int32_t* chosen,
                                   uint8_t* colours, void* stream);
