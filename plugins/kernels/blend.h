// Blending of one colour into samples, in 16 bits so that vectors hold twice as many; see overlay.h.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace solo {

constexpr int kFull = 256;     // weight of an opaque pixel
constexpr int kRgbBlock = 16;  // RGB pixels blended at a time: 48 bytes are three vectors of 16
constexpr int kRgbBytes = 3 * kRgbBlock;

// A colour's part in a sample of weight 0..kFull, rounding included.
SOLO_HOST_DEVICE uint16_t blend_add(int colour, int weight) { return static_cast<uint16_t>(colour * weight + 128); }

SOLO_HOST_DEVICE uint16_t blend_keep(int weight) { return static_cast<uint16_t>(kFull - weight); }

// keep = blend_keep(weight), add = blend_add(colour, weight): at most 255 * 256 + 128 together.
SOLO_HOST_DEVICE uint8_t blend(uint8_t sample, uint16_t keep, uint16_t add) {
  return static_cast<uint8_t>(static_cast<uint16_t>(sample * keep + add) >> 8);
}

// Returns the mean weight of the pixels that a chroma sample serves, rounded half up: `sum` over 4 / scale pixels.
SOLO_HOST_DEVICE uint16_t mean_weight(uint16_t sum, int scale) {
  return static_cast<uint16_t>(static_cast<uint16_t>(sum * scale + 2) >> 2);
}

inline void blend_samples(uint8_t* samples, int count, uint16_t keep, uint16_t add) {
  for (int i = 0; i < count; ++i) samples[i] = blend(samples[i], keep, add);
}

// Writes what blend_rgb takes: `add` for the bytes of kRgbBlock pixels.
inline void fill_rgb_adds(const uint8_t* colour, int weight, uint16_t* adds) {
  for (int i = 0; i < kRgbBytes; ++i) adds[i] = blend_add(colour[i % 3], weight);
}

inline void blend_rgb(uint8_t* bytes, int count, uint16_t keep, const uint16_t* adds) {
  int done = 0;
  for (; done + kRgbBytes <= count; done += kRgbBytes) {
    uint8_t* block = bytes + done;
    for (int i = 0; i < kRgbBytes; ++i) block[i] = blend(block[i], keep, adds[i]);
  }
  for (int i = 0; done + i < count; ++i) bytes[done + i] = blend(bytes[done + i], keep, adds[i]);
}

}  // namespace solo
