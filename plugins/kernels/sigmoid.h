// The logistic function for the inner loops: branch-free, so that compilers vectorise it.
#pragma once

#include "exponential.h"

namespace solo {

// Returns 1 / (1 + exp(-x)) in [0, 1] with an absolute error below 3e-7; 0 for NaN.
SOLO_INLINE float fast_sigmoid(float x) {
  constexpr float kLimit = 87.0f;  // exp(87) is finite in float32

  float y = x > -kLimit ? -x : kLimit;  // NaN fails the comparison and ends at sigmoid(-87) ~ 0
  y = y > -kLimit ? y : -kLimit;
  return 1.0f / (1.0f + fast_exp(y));
}

}  // namespace solo
