/* Labels pasted onto a picture on the GPU: text on coloured paper. */
#pragma once

#include "picture_cuda.h"

typedef struct SoloLabel {
  int32_t x, y;          /* of the top-left corner in pixels, even and not negative */
  int32_t height, width; /* in pixels, even */
  int64_t coverage;      /* where its text begins, in bytes: see below */
  uint8_t ink[4];        /* colours of the text and of the paper below it: YUV, the last byte is not read */
  uint8_t paper[4];
} SoloLabel;

/* Pastes labels [count], each over those before it, as far as the picture reaches, which is SOLO_I420 or SOLO_NV12.
 *
 * The text of a label is how much of each pixel it covers, uint8 [height, width], and then of each chroma sample,
 * uint8 [height / 2, width / 2]. To the same bytes as draw_label of solo_rt/render/lettering.py, one label
 * after the other.
 */
SOLO_CUDA_API int solo_cuda_paste_labels(const SoloPicture* picture /* host */, const SoloLabel* labels,
                                         const uint8_t* coverage, int32_t count, void* stream);
