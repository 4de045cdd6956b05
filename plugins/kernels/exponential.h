// The exponential function for inner loops: branch-free, so that compilers vectorise it.
#pragma once

#include <cstdint>
#include <cstring>

#include "instruction_set.h"

namespace solo {

// Returns exp(x) with a relative error below 3e-7 for x in [-87, 87], 0 for x in [-88.37, -87.7], NaN for NaN. Below
// -88.376 comes -inf, which is why callers clamp x first.
//
// exp(x) = 2^n * exp(r) with n integer and |r| <= ln(2) / 2; exp(r) is its Taylor series to the sixth power, whose
// remainder is below 2e-7.
SOLO_INLINE float fast_exp(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // ln(2) in two parts; the product with n is exact in the first
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits

  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float e = 1.0f / 720.0f;
  e = e * r + 1.0f / 120.0f;
  e = e * r + 1.0f / 24.0f;
  e = e * r + 1.0f / 6.0f;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  uint32_t bits;
  float power;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;  // n into the exponent field
  std::memcpy(&power, &bits, sizeof power);
  return e * power;
}

}  // namespace solo
