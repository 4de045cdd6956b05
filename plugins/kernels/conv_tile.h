// The inner loops of the dynamic convolution on the CPU: one tile of 8 x 8 pixels, six masks at a time.
//
// Note [Tiles that cannot be inside]
// Most of a picture is far from any one object, and there a mask costs time only to be found empty. Within a tile every
// feature channel lies between its least and its largest value, so taking the larger end for positive weights and the
// smaller for negative ones gives a logit that no pixel of the tile exceeds. It costs about a twentieth of the tile.
// The bound holds to the last bit: it is summed over the channels in the same order as a logit, each term is at least
// the logit's, and rounding keeps the order of sums. On a trained model about three tiles of four are skipped, with the
// result unchanged. NaN: a feature or weight that is NaN makes every logit it is in NaN, which is not inside anyway.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dynamic_conv.h"
#include "instruction_set.h"

namespace solo::conv {

constexpr int kRows = 6;     // masks of one tile: 6 x 4 vectors of sums are 24 of 32 registers
constexpr int kPixels = 64;  // pixels of one tile, in the order of the bits of its word
constexpr int kSlice = 16;   // a packed tile is [kPixels / kSlice][channels][kSlice]
constexpr int kTiles = 16;   // tiles of one block, the unit of work of a thread; 512 KiB at 128 channels
constexpr int kAlignment = 64;

using Logits = float[kRows][kPixels];
using Bounds = float[kRows][kTiles];

// Where a tile lies: cells x0..x0 + columns - 1, y0..y0 + rows - 1, fewer than 8 at the right and lower edge.
struct TilePlace {
  int64_t x0, y0;
  int columns, rows;

  bool whole() const { return columns == kTileSide && rows == kTileSide; }
};

inline TilePlace place_tile(const DynamicConv& conv, int64_t tile) {
  const int64_t across = (conv.width + kTileSide - 1) / kTileSide;
  const int64_t x0 = tile % across * kTileSide;
  const int64_t y0 = tile / across * kTileSide;
  return {x0, y0, static_cast<int>(std::min<int64_t>(kTileSide, conv.width - x0)),
          static_cast<int>(std::min<int64_t>(kTileSide, conv.height - y0))};
}

// Copies the features of one tile to `packed`. The last column and row are repeated where the tile is cut off.
SOLO_INLINE void pack_tile(const DynamicConv& conv, const TilePlace& place, float* packed) {
  const int64_t pixels = conv.height * conv.width;
  const float* from = conv.features + place.y0 * conv.width + place.x0;
  for (int64_t e = 0; e < conv.channels; ++e, from += pixels) {
    for (int y = 0; y < kTileSide; ++y) {
      const float* line = from + std::min(y, place.rows - 1) * conv.width;
      float* to = packed + (y / 2 * conv.channels + e) * kSlice + y % 2 * kTileSide;
      if (place.columns == kTileSide) {
        for (int x = 0; x < kTileSide; ++x) to[x] = line[x];
      } else {
        for (int x = 0; x < kTileSide; ++x) to[x] = line[std::min(x, place.columns - 1)];
      }
    }
  }
}

// Writes the largest and least value of each channel of a packed tile to extremes [channels][2][kTiles], at `tile`.
SOLO_INLINE void find_extremes(const float* packed, int64_t channels, int tile, float* extremes) {
  for (int64_t e = 0; e < channels; ++e) {
    float top[kSlice];
    float bottom[kSlice];
    const float* slice = packed + e * kSlice;
    for (int i = 0; i < kSlice; ++i) top[i] = bottom[i] = slice[i];
    for (int s = 1; s < kPixels / kSlice; ++s) {
      slice += channels * kSlice;
      for (int i = 0; i < kSlice; ++i) top[i] = slice[i] > top[i] ? slice[i] : top[i];
      for (int i = 0; i < kSlice; ++i) bottom[i] = slice[i] < bottom[i] ? slice[i] : bottom[i];
    }
    for (int half = kSlice / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) top[i] = top[i + half] > top[i] ? top[i + half] : top[i];
      for (int i = 0; i < half; ++i) bottom[i] = bottom[i + half] < bottom[i] ? bottom[i + half] : bottom[i];
    }
    extremes[2 * e * kTiles + tile] = top[0];
    extremes[(2 * e + 1) * kTiles + tile] = bottom[0];
  }
}

// Writes, for kRows kernels, a value that no logit of each of kTiles tiles exceeds. kLanes is the vector width in
// floats.
template <int kLanes>
SOLO_INLINE void bound(const float* extremes, int64_t channels, const float* const* kernels, Bounds& bounds) {
  typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
  for (int start = 0; start < kTiles; start += kLanes) {
    Vector sums[kRows] = {};
    for (int64_t e = 0; e < channels; ++e) {
      const Vector top = *reinterpret_cast<const Vector*>(extremes + 2 * e * kTiles + start);
      const Vector bottom = *reinterpret_cast<const Vector*>(extremes + (2 * e + 1) * kTiles + start);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const float k = kernels[r][e];
        sums[r] += (k > 0.0f ? k : 0.0f) * top;
        sums[r] += (k < 0.0f ? k : 0.0f) * bottom;
      }
    }
    for (int r = 0; r < kRows; ++r) *reinterpret_cast<Vector*>(&bounds[r][start]) = sums[r];
  }
}

// Writes the logits of kRows kernels on a packed tile. kVectors vectors of pixels are summed at once; each logit is
// summed over the channels in order, whatever kLanes and kVectors are.
template <int kLanes, int kVectors>
SOLO_INLINE void multiply(const float* packed, int64_t channels, const float* const* kernels, Logits& logits) {
  typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
  for (int start = 0; start < kPixels; start += kLanes * kVectors) {
    Vector sums[kRows][kVectors] = {};
    for (int64_t e = 0; e < channels; ++e) {
      Vector f[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int pixel = start + v * kLanes;
        f[v] = *reinterpret_cast<const Vector*>(packed + (pixel / kSlice * channels + e) * kSlice + pixel % kSlice);
      }
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const float k = kernels[r][e];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[r][v] += k * f[v];
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Vector*>(&logits[r][start + v * kLanes]) = sums[r][v];
    }
  }
}

}  // namespace solo::conv
