/* A picture as the input tensor of a network, on the GPU. */
#pragma once

#include "picture_cuda.h"

typedef struct SoloLetterbox {
  int32_t type;                          /* SoloType of the tensor */
  int32_t height, width;                 /* of the tensor */
  int32_t resized_height, resized_width; /* of the picture in its top-left corner, 1..height and 1..width */
  float mean[3], std[3];                 /* red, green, blue; std > 0 */
  int32_t bt709, full_range;             /* of YUV pictures: 0 or 1, see colour.h */
} SoloLetterbox;

/* Writes [3, height, width] RGB: what letterbox of letterbox.h writes. For a batch, call it once for each picture. */
SOLO_CUDA_API int solo_cuda_letterbox(const SoloPicture* picture /* host */, const SoloLetterbox* target /* host */,
                                      void* tensor, void* stream);
