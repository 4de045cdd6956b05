// How a target pixel of the letterbox is made: where its samples lie, and what they become.
#pragma once

#include <cmath>
#include <cstdint>

#include "colour.h"
#include "host_device.h"

namespace solo {

// The two source samples of a target pixel along an axis.
struct Taps {
  int first, second;
  float weight;  // of the second
};

// Source samples per target pixel in 2^-32. Fixed point is exact where double is slow.
inline int64_t tap_pitch(double scale) { return std::llround(std::ldexp(scale, 32)); }

// Pixel centres lie at half positions; `size` samples, the first and the last continued. pixel * pitch < 2^49.
SOLO_HOST_DEVICE Taps make_taps(int pixel, int64_t pitch, int size) {
  constexpr int kBits = 33;  // of the fraction: twice a pixel's centre is an integer
  const int64_t position = (2 * int64_t{pixel} + 1) * pitch - (int64_t{1} << (kBits - 1));
  const auto first = static_cast<int>(position >> kBits);
  const auto fraction = static_cast<uint32_t>(position >> 1);
  const int last = size - 1;
  const int low = first < 0 ? 0 : first > last ? last : first;
  const int high = first + 1 < 0 ? 0 : first + 1 > last ? last : first + 1;
  return {low, high, static_cast<float>(fraction) * 0x1p-32f};
}

SOLO_HOST_DEVICE float interpolate(float first, float second, float weight) {
  return first + (second - first) * weight;
}

// out = factors . (a, b, c) + offset, clamped.
struct Affine {
  float factors[3], offset, low, high;
};

SOLO_HOST_DEVICE float apply(const Affine& map, float a, float b, float c) {
  const float value = map.factors[0] * a + map.factors[1] * b + map.factors[2] * c + map.offset;
  const float raised = value < map.low ? map.low : value;
  return raised > map.high ? map.high : raised;
}

// Makes the maps from samples, YUV or RGB, to normalised red, green and blue: (value - mean) / std, clamped to what
// 0..255 becomes.
inline void make_affine(bool yuv, ColourSpace space, const float mean[3], const float std[3], Affine maps[3]) {
  const YuvToRgb m = yuv_to_rgb(space);
  const double from_yuv[3][3] = {{m.luma, 0, m.red_v}, {m.luma, -m.green_u, -m.green_v}, {m.luma, m.blue_u, 0}};
  for (int c = 0; c < 3; ++c) {
    const double middle = mean[c], scale = 1 / static_cast<double>(std[c]);
    double offset = -middle;
    for (int k = 0; k < 3; ++k) {
      const double factor = yuv ? from_yuv[c][k] : (c == k ? 1.0 : 0.0);
      if (yuv) offset -= factor * (k == 0 ? m.black : 128.0);
      maps[c].factors[k] = static_cast<float>(factor * scale);
    }
    maps[c].offset = static_cast<float>(offset * scale);
    maps[c].low = static_cast<float>((0 - middle) * scale);
    maps[c].high = static_cast<float>((255 - middle) * scale);
  }
}

}  // namespace solo
