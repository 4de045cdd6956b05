// Pictures as kernels see them: two by two pixels in registers, which one chroma sample serves.
#pragma once

#include "picture_cuda.h"

namespace solo {

inline bool is_yuv(const SoloPicture& picture) { return picture.format != SOLO_RGB; }

// Pixel i of a quad is at (i % 2, i / 2) of it; those beyond the picture are left alone.
struct RgbQuad {
  uint8_t samples[4][3];

  __device__ static uint8_t* address(const SoloPicture& p, int x, int y) {
    return p.planes[0] + y * p.strides[0] + 3 * int64_t{x};
  }
  __device__ void load(const SoloPicture& p, int x, int y) {
    for (int i = 0; i < 4; ++i) {
      if (x + i % 2 >= p.width || y + i / 2 >= p.height) continue;
      for (int c = 0; c < 3; ++c) samples[i][c] = address(p, x + i % 2, y + i / 2)[c];
    }
  }
  __device__ void store(const SoloPicture& p, int x, int y) const {
    for (int i = 0; i < 4; ++i) {
      if (x + i % 2 >= p.width || y + i / 2 >= p.height) continue;
      for (int c = 0; c < 3; ++c) address(p, x + i % 2, y + i / 2)[c] = samples[i][c];
    }
  }
};

struct YuvQuad {
  uint8_t luma[4], chroma[2];

  __device__ static uint8_t* chroma_address(const SoloPicture& p, int c, int x, int y) {
    if (p.format == SOLO_NV12) return p.planes[1] + y / 2 * p.strides[1] + x / 2 * 2 + c;
    return p.planes[1 + c] + y / 2 * p.strides[1 + c] + x / 2;
  }
  __device__ void load(const SoloPicture& p, int x, int y) {
    for (int i = 0; i < 4; ++i) {
      if (x + i % 2 < p.width && y + i / 2 < p.height) luma[i] = p.planes[0][(y + i / 2) * p.strides[0] + x + i % 2];
    }
    for (int c = 0; c < 2; ++c) chroma[c] = *chroma_address(p, c, x, y);
  }
  __device__ void store(const SoloPicture& p, int x, int y) const {
    for (int i = 0; i < 4; ++i) {
      if (x + i % 2 < p.width && y + i / 2 < p.height) p.planes[0][(y + i / 2) * p.strides[0] + x + i % 2] = luma[i];
    }
    for (int c = 0; c < 2; ++c) *chroma_address(p, c, x, y) = chroma[c];
  }
};

}  // namespace solo
