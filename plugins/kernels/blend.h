// The arithmetic of one blended sample; see overlay.h.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace solo {

constexpr int kFull = 256;  // weight of an opaque pixel

// What blend takes for a weight 0..kFull. Both fit 16 bits, so that vectors hold twice as many.
SOLO_HOST_DEVICE uint16_t blend_keep(int weight) { return static_cast<uint16_t>(kFull - weight); }
SOLO_HOST_DEVICE uint16_t blend_add(int colour, int weight) { return static_cast<uint16_t>(colour * weight + 128); }

SOLO_HOST_DEVICE uint8_t blend(uint8_t sample, uint16_t keep, uint16_t add) {
  return static_cast<uint8_t>(static_cast<uint16_t>(sample * keep + add) >> 8);
}

// Returns the mean weight of the pixels that a chroma sample serves, rounded half up: `sum` over 4 / scale pixels.
SOLO_HOST_DEVICE uint16_t mean_weight(uint16_t sum, int scale) {
  return static_cast<uint16_t>(static_cast<uint16_t>(sum * scale + 2) >> 2);
}

}  // namespace solo
