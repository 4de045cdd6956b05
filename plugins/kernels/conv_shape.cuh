// From the arguments of a C function to the operands of a tile.
#pragma once

#include <type_traits>

#include "conv_tile.cuh"
#include "dynamic_conv_cuda.h"

namespace solo::conv {

inline int check_conv(const SoloConvShape& shape) {
  if (shape.batch < 1 || shape.batch > kMaxGridRows || shape.cells < 1 || shape.channels < 1) return SOLO_BAD_SIZE;
  if (shape.height < 1 || shape.width < 1 || shape.slots < 1 || shape.slots > SOLO_MAX_SLOTS) return SOLO_BAD_SIZE;
  if (shape.height > (INT32_MAX - kPixels) / shape.width) return SOLO_BAD_SIZE;
  return shape.divisor < 1 ? SOLO_BAD_ARGUMENT : SOLO_OK;
}

inline int64_t tiles_across(const SoloConvShape& shape) {
  return ceil_div(int64_t{shape.height} * shape.width, kPixels);
}

// The blocks of a kernel that starts with TilePlace(shape.slots), for all pictures.
inline dim3 tile_grid(const SoloConvShape& shape) {
  return {static_cast<unsigned>(tiles_across(shape) * ceil_div(shape.slots, kRows)), 1,
          static_cast<unsigned>(shape.batch)};
}

template <typename T>
__device__ Operands<T> operands_of(const SoloConvShape& shape, const T* kernels, const T* features,
                                   const int32_t* indices, int picture, int rows) {
  const int pixels = shape.height * shape.width;
  return {kernels + int64_t{picture} * shape.cells * shape.channels,
          features + int64_t{picture} * shape.channels * pixels,
          indices + int64_t{picture} * shape.slots,
          shape.divisor,
          shape.cells,
          rows,
          shape.channels,
          pixels};
}

// Returns body(kernels, features, std::bool_constant<aligned>) with typed pointers, or SOLO_BAD_ARGUMENT.
template <typename Body>
int with_operands(const SoloConvShape& shape, const void* kernels, const void* features, const Body& body) {
  int status = SOLO_BAD_ARGUMENT;
  with_type(shape.type, [&](auto zero) {
    const auto* typed_kernels = static_cast<const decltype(zero)*>(kernels);
    const auto* typed_features = static_cast<const decltype(zero)*>(features);
    if (is_vectorisable(typed_kernels, typed_features, shape.channels, int64_t{shape.height} * shape.width)) {
      status = body(typed_kernels, typed_features, std::true_type{});
    } else {
      status = body(typed_kernels, typed_features, std::false_type{});
    }
  });
  return status;
}

}  // namespace solo::conv
