#include <algorithm>
#include <cmath>
#include <cstring>

#include "target_clones.h"
#include "yuv420.h"

namespace solo {
namespace {

constexpr int kBits = 16;
constexpr int kTile = 512;  // pixels of a row converted at a time

// YuvToRgb in 1/65536; the bias holds rounding and black level.
struct FixedMap {
  int32_t luma, red_v, green_u, green_v, blue_u, bias;
};

FixedMap make_map(ColourSpace space) {
  const YuvToRgb m = yuv_to_rgb(space);
  const auto fixed = [](double value) { return static_cast<int32_t>(std::lround(value * (1 << kBits))); };
  const int32_t luma = fixed(m.luma);
  const int32_t bias = (1 << (kBits - 1)) - luma * static_cast<int32_t>(m.black);
  return {luma, fixed(m.red_v), fixed(m.green_u), fixed(m.green_v), fixed(m.blue_u), bias};
}

inline int32_t to_byte(int32_t value) {
  value >>= kBits;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

// Writes red | green << 8 | blue << 16 of every pixel; u and v hold one sample per pixel here.
SOLO_CLONES void convert_tile(const FixedMap& map, const uint8_t* y, const uint8_t* u, const uint8_t* v, int count,
                              int32_t* packed) {
  const FixedMap m = map;
  for (int i = 0; i < count; ++i) {
    const int32_t base = m.luma * y[i] + m.bias, blue = u[i] - 128, red = v[i] - 128;
    const int32_t r = to_byte(base + m.red_v * red);
    const int32_t g = to_byte(base - m.green_u * blue - m.green_v * red);
    const int32_t b = to_byte(base + m.blue_u * blue);
    packed[i] = r | g << 8 | b << 16;
  }
}

// Four bytes are stored per pixel, of which the next pixel replaces the last, because one store is faster than three.
void unpack(const int32_t* packed, int count, uint8_t* rgb) {
  for (int i = 0; i + 1 < count; ++i) std::memcpy(rgb + 3 * i, packed + i, 4);
  std::memcpy(rgb + 3 * (count - 1), packed + count - 1, 3);
}

void double_samples(const uint8_t* samples, int count, uint8_t* out) {
  for (int i = 0; i < count; ++i) out[2 * i] = out[2 * i + 1] = samples[i];
}

}  // namespace

Status yuv420_to_rgb(const ConstPicture& picture, ColourSpace space, uint8_t* rgb, int64_t stride) {
  if (picture.height < 1 || picture.width < 1) return Status::kBadSize;
  if (!picture.yuv420) return Status::kBadArgument;
  const FixedMap map = make_map(space);
  uint8_t u[kTile], v[kTile];
  int32_t packed[kTile];
  for (int y = 0; y < picture.height; ++y) {
    const uint8_t* luma = picture.planes[0] + y * picture.strides[0];
    const uint8_t* blue = picture.planes[1] + y / 2 * picture.strides[1];
    const uint8_t* red = picture.planes[2] + y / 2 * picture.strides[2];
    for (int x = 0; x < picture.width; x += kTile) {
      const int count = std::min(kTile, picture.width - x);
      double_samples(blue + x / 2, (count + 1) / 2, u);
      double_samples(red + x / 2, (count + 1) / 2, v);
      convert_tile(map, luma + x, u, v, count, packed);
      unpack(packed, count, rgb + y * stride + 3 * x);
    }
  }
  return Status::kOk;
}

}  // namespace solo
