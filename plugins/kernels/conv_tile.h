// The inner loops of the dynamic convolution on the CPU: one tile of 8 x 8 pixels, six masks at a time.
//
// Note [Tiles that cannot be inside]
// Most of a picture is far from any one object, and there a mask costs time only to be found empty. Within a tile every
// feature channel lies between its least and its largest value, so taking the largest for positive weights and the
// least for the others gives a logit that no pixel of the tile exceeds, for 1/64 of the work. The bound holds to the
// last bit: it is summed over the channels in the order of the logits, each of its terms is at least theirs, and
// rounding keeps the order. On the shipped model it spares four tiles of five. Pixels with a NaN feature are left
// out of the two values, as they are outside of every mask; a NaN weight makes the bound NaN, which spares nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

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

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

SOLO_INLINE float largest(const Eight& values) {
  const Four* halves = reinterpret_cast<const Four*>(&values);
  const Four four = halves[0] > halves[1] ? halves[0] : halves[1];
  return std::max(std::max(four[0], four[1]), std::max(four[2], four[3]));
}

// Copies the features of one tile to `packed` [kPixels / kSlice][channels][kSlice]; the last column and row are
// repeated where the tile is cut off. With `extremes` [channels][2][kTiles], also writes the largest and the least
// value of each channel there, in the column given.
SOLO_INLINE void pack_tile(const DynamicConv& conv, const TilePlace& place, float* packed, float* extremes = nullptr,
                           int column = 0) {
  const int64_t pixels = conv.height * conv.width;
  const float* from = conv.features + place.y0 * conv.width + place.x0;
  for (int64_t e = 0; e < conv.channels; ++e, from += pixels) {
    Eight top = Eight{} - std::numeric_limits<float>::infinity();
    Eight bottom = -top;
#pragma GCC unroll 8
    for (int y = 0; y < kTileSide; ++y) {
      const float* line = from + std::min(y, place.rows - 1) * conv.width;
      float repeated[kTileSide];
      if (place.columns < kTileSide) {
        for (int x = 0; x < kTileSide; ++x) repeated[x] = line[std::min(x, place.columns - 1)];
        line = repeated;
      }
      const Eight values = *reinterpret_cast<const Eight*>(line);
      *reinterpret_cast<Eight*>(packed + (y / 2 * conv.channels + e) * kSlice + y % 2 * kTileSide) = values;
      top = values > top ? values : top;
      bottom = values < bottom ? values : bottom;
    }
    if (extremes == nullptr) continue;
    extremes[2 * e * kTiles + column] = largest(top);
    extremes[(2 * e + 1) * kTiles + column] = -largest(-bottom);
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
        const Vector k = kernels[r][e] - Vector{};  // the same in all lanes
        sums[r] += k * (k > 0.0f ? top : bottom);
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
