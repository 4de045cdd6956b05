// Sort keys: ascending keys rank scores from high to low and equal scores by ascending index.
#pragma once

#include <cstdint>
#include <cstring>

#include "host_device.h"

namespace solo {

// Returns bits that compare as unsigned numbers as the values compare as floats.
SOLO_HOST_DEVICE uint32_t ordered_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The inverse of ordered_bits.
SOLO_HOST_DEVICE float ordered_value(uint32_t ordered) {
  const uint32_t bits = ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

SOLO_HOST_DEVICE uint64_t rank_key(float score, int32_t index) {
  return static_cast<uint64_t>(~ordered_bits(score)) << 32 | static_cast<uint32_t>(index);
}

SOLO_HOST_DEVICE float score_of_key(uint64_t key) { return ordered_value(~static_cast<uint32_t>(key >> 32)); }

SOLO_HOST_DEVICE int32_t index_of_key(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }

// As rank_key, but class by class; class_id and cell are below 65536.
SOLO_HOST_DEVICE uint64_t class_rank_key(int32_t class_id, float score, int32_t cell) {
  return static_cast<uint64_t>(class_id) << 48 | static_cast<uint64_t>(~ordered_bits(score)) << 16 |
         static_cast<uint64_t>(cell);
}

SOLO_HOST_DEVICE int32_t class_of_key(uint64_t key) { return static_cast<int32_t>(key >> 48); }

SOLO_HOST_DEVICE float score_of_class_key(uint64_t key) { return ordered_value(~static_cast<uint32_t>(key >> 16)); }

}  // namespace solo
