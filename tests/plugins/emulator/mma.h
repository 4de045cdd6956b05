// Matrix fragments of a warp. Lane 0 holds and computes all of them, so a missing __syncwarp leaves the others behind.
#pragma once

#include "cuda_fp16.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
enum layout_t { mem_row_major };

inline float widen(float value) { return value; }
inline float widen(__half value) { return __half2float(value); }

template <typename Use, int m, int n, int k, typename T, typename Layout = void>
struct fragment {
  float values[16][16];
};

template <typename Fragment>
void fill_fragment(Fragment& fragment, float value) {
  for (auto& row : fragment.values) std::fill(row, row + 16, value);
}

template <typename Use, typename T, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& to, const T* from, unsigned pitch) {
  if (reinterpret_cast<uintptr_t>(from) % 32 != 0 || pitch * sizeof(T) % 16 != 0) std::abort();
  if (emulator::lane() != 0) return;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) to.values[y][x] = widen(from[y * pitch + x]);
  }
}

template <typename A, typename B, typename C>
void mma_sync(C& sum, const A& left, const B& right, const C& old) {
  if (emulator::lane() != 0) return;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      float value = old.values[y][x];
      for (int e = 0; e < 16; ++e) value += left.values[y][e] * right.values[e][x];
      sum.values[y][x] = value;
    }
  }
}

template <typename Fragment>
void store_matrix_sync(float* to, const Fragment& from, unsigned pitch, layout_t) {
  if (reinterpret_cast<uintptr_t>(to) % 32 != 0 || pitch % 4 != 0) std::abort();
  if (emulator::lane() != 0) return;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) to[y * pitch + x] = from.values[y][x];
  }
}

}  // namespace nvcuda::wmma
