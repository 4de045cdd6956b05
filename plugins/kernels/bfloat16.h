// Numbers as training keeps them: float, or bfloat16, the upper half of one. Kernels compute in float.
#pragma once

#include <cstdint>
#include <cstring>

#include "instruction_set.h"

namespace solo {

struct Bfloat16 {
  uint16_t bits;
};

SOLO_INLINE float widen(float value) { return value; }

SOLO_INLINE float widen(Bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

SOLO_INLINE void narrow(float value, float* out) { *out = value; }

// Rounds to the nearest, ties to even, as PyTorch does. A NaN stays one.
SOLO_INLINE void narrow(float value, Bfloat16* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  out->bits = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded);
}

}  // namespace solo
