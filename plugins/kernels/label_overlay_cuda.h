/* Labels painted onto a picture on the GPU. */
#pragma once

#include "picture_cuda.h"

/* A class for every pixel, on a grid that covers the picture; see Note [Label arithmetic] of label_map.h. */
typedef struct SoloLabelMap {
  const uint8_t* labels; /* [height, width] */
  int64_t stride;        /* bytes from one row to the next */
  int32_t height, width; /* 1..65535 */
} SoloLabelMap;

typedef struct SoloLabelStyle {
  const uint16_t* alphas; /* [256] opacity of a label, 0..256 */
  const uint8_t* colours; /* [256, 3] in the channels of the picture as stored: RGB or YUV */
} SoloLabelStyle;

/* Blends the colour of every pixel's label into the picture in place, to the same bytes as overlay_labels of
 * label_overlay.h. */
SOLO_CUDA_API int solo_cuda_overlay_labels(const SoloPicture* picture /* host */, const SoloLabelMap* map /* host */,
                                           const SoloLabelStyle* style /* host */, void* stream);
