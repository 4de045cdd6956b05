// Host side of every CUDA kernel: one way to launch, one way to lay out a workspace.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "cuda_abi.h"

namespace solo {

constexpr int kWarp = 32;
constexpr unsigned kFullWarp = 0xffffffffu;
constexpr int kMaxGridRows = 65535;  // of a grid's y and z

inline int cuda_status(cudaError_t error) {
  return error == cudaSuccess ? SOLO_OK : SOLO_CUDA_ERROR + static_cast<int>(error);
}

template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, int threads, void* stream, Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  return cuda_status(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Hands out parts of a workspace, or counts their bytes if the workspace is null. Each part starts at 256 bytes.
class Carver {
 public:
  explicit Carver(void* workspace) : memory_(static_cast<char*>(workspace)) {}

  template <typename T>
  T* take(int64_t count) {
    T* part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += ceil_div(count * static_cast<int64_t>(sizeof(T)), 256) * 256;
    return part;
  }
  int64_t used() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

__host__ __device__ inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

// Calls body(T{}) with the C++ type of a SoloType; false if there is none.
template <typename Body>
bool with_type(int type, const Body& body) {
  switch (type) {
    case SOLO_FLOAT32:
      body(float{});
      return true;
    case SOLO_FLOAT16:
      body(__half{});
      return true;
    default:
      return false;
  }
}

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }

template <typename T>
__device__ inline T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half(value);
}

// 16 bytes of a tensor, for one load or store.
template <typename T>
struct alignas(16) Vector {
  static constexpr int kLength = 16 / sizeof(T);
  T values[kLength];
};

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

}  // namespace solo
