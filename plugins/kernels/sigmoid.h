// The logistic function for the inner loops: branch-free, so that compilers vectorise it.
#pragma once

#include <cstdint>
#include <cstring>

#include "instruction_set.h"

namespace solo {

// Returns 1 / (1 + exp(-x)) in [0, 1] with an absolute error below 3e-7; 0 for NaN.
//
// exp(-x) = 2^n * exp(r) with n integer and |r| <= ln(2) / 2; exp(r) is its Taylor series to the sixth power, whose
// remainder is below 2e-7.
SOLO_INLINE float fast_sigmoid(float x) {
  constexpr float kLimit = 87.0f;  // exp(87) is finite in float32
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // ln(2) in two parts; the product with n is exact in the first
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits

  float y = x > -kLimit ? -x : kLimit;  // NaN fails the comparison and ends at sigmoid(-87) ~ 0
  y = y > -kLimit ? y : -kLimit;
  const float shifted = y * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (y - n * kLn2High) - n * kLn2Low;
  float e = 1.0f / 720.0f;
  e = e * r + 1.0f / 120.0f;
  e = e * r + 1.0f / 24.0f;
  e = e * r + 1.0f / 6.0f;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  int32_t bits;
  int32_t power;
  std::memcpy(&power, &shifted, sizeof power);
  std::memcpy(&bits, &e, sizeof bits);
  bits += static_cast<int32_t>(static_cast<uint32_t>(power) << 23);  // times 2^n: n into the exponent field
  std::memcpy(&e, &bits, sizeof e);
  return 1.0f / (1.0f + e);
}

}  // namespace solo
