/* Soft masks painted onto a picture on the GPU. */
#pragma once

#include "mask_grid_cuda.h"
#include "picture_cuda.h"

typedef struct SoloOverlayStyle {
  const uint8_t* colours; /* [capacity, 3] in the channels of the picture as stored: RGB or YUV */
  int32_t alpha;          /* opacity of the inside, 0..256 */
  int32_t outline;        /* thickness of the opaque outline in pixels, 0..32 */
} SoloOverlayStyle;

/* Blends every mask into the picture in place, to the same bytes as overlay of overlay.h. */
SOLO_CUDA_API int solo_cuda_overlay(const SoloPicture* picture /* host */, const SoloMaskGrid* masks /* host */,
                                    const SoloOverlayStyle* style /* host */, void* stream);
