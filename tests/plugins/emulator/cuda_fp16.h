// FP16 on the CPU, for tests.
#pragma once

#include "cuda_runtime.h"

struct __half {
  __half() = default;
  explicit __half(float value) {
    const _Float16 rounded = static_cast<_Float16>(value);
    std::memcpy(&bits, &rounded, sizeof bits);
  }
  uint16_t bits;
};

inline float __half2float(__half value) {
  _Float16 half;
  std::memcpy(&half, &value.bits, sizeof half);
  return static_cast<float>(half);
}
inline __half __float2half(float value) { return __half(value); }
