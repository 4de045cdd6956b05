/* Pictures in device memory. */
#pragma once

#include "cuda_abi.h"

enum SoloPixelFormat {
  SOLO_RGB = 0,  /* one plane uint8 [height, width, 3] */
  SOLO_I420 = 1, /* Y [height, width], U and V [ceil(height / 2), ceil(width / 2)] */
  SOLO_NV12 = 2  /* Y, and U and V by turns [ceil(height / 2), ceil(width / 2), 2]: what NVDEC gives and NVENC takes */
};

/* A stride is the bytes from one row to the next; rows may be padded. */
typedef struct SoloPicture {
  uint8_t* planes[3];
  int64_t strides[3];
  int32_t height, width; /* 1..65535 */
  int32_t format;        /* SoloPixelFormat */
} SoloPicture;
