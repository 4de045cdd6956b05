// The tile of the dynamic convolution on the GPU: logits of 128 mask kernels at 128 pixels, computed by one block.
//
// A block of eight warps, two by four, each with 64 rows x 32 pixels of sums in registers. The channels pass by in
// slabs through shared memory, the next slab on its way while one is multiplied (asynchronous copies from sm_80 on).
// FP16 uses the tensor cores through wmma, which is the same source from sm_70 to sm_120; FP32 uses plain fused
// multiply-adds, because TF32 would round the inputs. Sums are FP32 in both cases.
//
// The order of summation depends on sizes alone, so a pixel has the same logit in every kernel built on this tile.
#pragma once

#include <cuda_pipeline.h>
#include <mma.h>

#include <type_traits>

#include "launch.cuh"

namespace solo::conv {

constexpr int kRows = 128;
constexpr int kPixels = 128;
constexpr int kThreads = 256;
constexpr int kWarpRows = 64;
constexpr int kWarpPixels = 32;
constexpr int kPart = 16;  // rows that are stored, and skipped, together
constexpr int kParts = kWarpRows / kPart;
constexpr int kStagePitch = kWarpPixels + 4;  // floats; 16 bytes more than a row keep banks apart

// Where the tile of a block lies, in a grid of one dimension. All rows at some pixels come one after another, so that
// features leave L2 once, whatever the number of rows is: an L2 of 4 MB does not hold the map of a large network.
struct TilePlace {
  int row, pixel;
  int across;  // tiles left of it

  __device__ explicit TilePlace(int rows)
      : row(static_cast<int>(blockIdx.x) % ((rows + kRows - 1) / kRows) * kRows),
        pixel(static_cast<int>(blockIdx.x) / ((rows + kRows - 1) / kRows) * kPixels),
        across(pixel / kPixels) {}
};

// The mask kernels and features of one picture. Row r uses kernel indices[r] / divisor, and zeros where that is none of
// `cells`: TensorRT runs plugins on whatever its memory holds when it times them, and reading wild would end its build.
template <typename T>
struct Operands {
  const T* kernels;        // [cells, channels]
  const T* features;       // [channels, pixels]
  const int32_t* indices;  // [rows]
  int divisor;
  int cells;
  int rows;
  int channels;
  int pixels;
};

// kDepth channels of a tile. Rows are 16 bytes longer than their data, which keeps the banks of neighbours apart.
template <typename T>
struct alignas(128) Slab {
  static constexpr int kDepth = 64 / sizeof(T);
  static constexpr int kKernelPitch = kDepth + Vector<T>::kLength;
  static constexpr int kFeaturePitch = kPixels + Vector<T>::kLength;
  T kernels[kRows][kKernelPitch];
  T features[kDepth][kFeaturePitch];
};

struct WarpPlace {
  int row, pixel;  // of the warp's first sum in the tile
};

__device__ inline WarpPlace place_warp() {
  const int warp = threadIdx.x / kWarp;
  return {warp / 4 * kWarpRows, warp % 4 * kWarpPixels};
}

// Fetches one vector, `valid` elements of which exist. Vectors are whole or absent where kAligned.
template <bool kAligned, typename T>
__device__ void fetch(Vector<T>* to, const T* from, int valid) {
  constexpr int kLength = Vector<T>::kLength;
  if (kAligned && valid > 0) {
    __pipeline_memcpy_async(to, from, sizeof(Vector<T>));
    return;
  }
  Vector<T> vector;
  for (int i = 0; i < kLength; ++i) vector.values[i] = !kAligned && i < valid ? from[i] : T(0.0f);
  *to = vector;
}

// The kernels that a thread fetches vectors of, null where there is none.
template <typename T>
struct KernelRows {
  static constexpr int kAcross = Slab<T>::kDepth / Vector<T>::kLength;  // vectors of a row of a slab
  static constexpr int kStep = kThreads / kAcross;
  const T* rows[kRows / kStep];

  __device__ KernelRows(const Operands<T>& in, int first_row) {
    for (int i = 0; i < kRows / kStep; ++i) {
      const int row = first_row + static_cast<int>(threadIdx.x) / kAcross + i * kStep;
      const int cell = row < in.rows ? in.indices[row] / in.divisor : -1;
      rows[i] = cell >= 0 && cell < in.cells ? in.kernels + int64_t{cell} * in.channels : nullptr;
    }
  }
};

// Fetches the slab that starts at a channel; zeros stand for rows, pixels and channels that do not exist.
template <bool kAligned, typename T>
__device__ void fetch_slab(const Operands<T>& in, const KernelRows<T>& kernels, int first_pixel, int channel,
                           Slab<T>& slab) {
  constexpr int kLength = Vector<T>::kLength, kAcross = KernelRows<T>::kAcross;
  const int row = threadIdx.x / kAcross, depth = threadIdx.x % kAcross * kLength;
#pragma unroll
  for (int i = 0; i < kRows / KernelRows<T>::kStep; ++i) {
    const T* kernel = kernels.rows[i];
    fetch<kAligned>(reinterpret_cast<Vector<T>*>(&slab.kernels[row + i * KernelRows<T>::kStep][depth]),
                    kernel + channel + depth, kernel != nullptr ? in.channels - channel - depth : 0);
  }
  constexpr int kAlong = kPixels / kLength;
  const int pixel = threadIdx.x % kAlong * kLength;
#pragma unroll
  for (int i = 0; i < Slab<T>::kDepth * kAlong / kThreads; ++i) {
    const int depth = threadIdx.x / kAlong + i * (kThreads / kAlong);
    fetch<kAligned>(reinterpret_cast<Vector<T>*>(&slab.features[depth][pixel]),
                    in.features + int64_t{channel + depth} * in.pixels + first_pixel + pixel,
                    channel + depth < in.channels ? in.pixels - first_pixel - pixel : 0);
  }
}

// The sums of one warp on tensor cores.
template <typename T>
class TensorCoreSums {
  template <typename Use, typename Element, typename... Layout>
  using Fragment = nvcuda::wmma::fragment<Use, 16, 16, 16, Element, Layout...>;

 public:
  __device__ TensorCoreSums() {
    for (auto& row : sums_) {
      for (auto& sum : row) nvcuda::wmma::fill_fragment(sum, 0.0f);
    }
  }

  // Adds the products of a slab to the parts whose bit is set in `live`, the same for all lanes.
  __device__ void add(const Slab<T>& slab, WarpPlace place, unsigned live) {
    using namespace nvcuda::wmma;
#pragma unroll
    for (int depth = 0; depth < Slab<T>::kDepth; depth += 16) {
      Fragment<matrix_b, T, row_major> right[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        load_matrix_sync(right[j], &slab.features[depth][place.pixel + 16 * j], Slab<T>::kFeaturePitch);
      }
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (!(live & 1u << part)) continue;
        Fragment<matrix_a, T, row_major> left;
        load_matrix_sync(left, &slab.kernels[place.row + kPart * part][depth], Slab<T>::kKernelPitch);
#pragma unroll
        for (int j = 0; j < 2; ++j) mma_sync(sums_[part][j], left, right[j], sums_[part][j]);
      }
    }
  }

  // Writes one part as [kPart][kStagePitch].
  __device__ void store(int part, float* stage) const {
    for (int j = 0; j < 2; ++j) {
      nvcuda::wmma::store_matrix_sync(stage + 16 * j, sums_[part][j], kStagePitch, nvcuda::wmma::mem_row_major);
    }
  }

 private:
  Fragment<nvcuda::wmma::accumulator, float> sums_[kParts][2];
};

// The sums of one warp by multiply-adds: a lane has rows lane / 4 + 8 i, and the eight pixels from lane % 4 * 8 on.
template <typename T>
class PlainSums {
  struct alignas(4 * sizeof(T)) Four {
    T values[4];
  };

 public:
  __device__ void add(const Slab<T>& slab, WarpPlace place, unsigned live) {
    const int row = place.row + threadIdx.x % kWarp / 4, pixel = place.pixel + threadIdx.x % 4 * 8;
#pragma unroll
    for (int depth = 0; depth < Slab<T>::kDepth; depth += 4) {
      Four right[4][2];
#pragma unroll
      for (int d = 0; d < 4; ++d) {
        const auto* eight = reinterpret_cast<const Four*>(&slab.features[depth + d][pixel]);
        right[d][0] = eight[0];
        right[d][1] = eight[1];
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (!(live & 1u << i / 2)) continue;
        const Four left = *reinterpret_cast<const Four*>(&slab.kernels[row + 8 * i][depth]);
#pragma unroll
        for (int d = 0; d < 4; ++d) {
#pragma unroll
          for (int p = 0; p < 8; ++p) sums_[i][p] += to_float(left.values[d]) * to_float(right[d][p / 4].values[p % 4]);
        }
      }
    }
  }

  __device__ void store(int part, float* stage) const {
    const int row = threadIdx.x % kWarp / 4, pixel = threadIdx.x % 4 * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i / 2 != part) continue;
#pragma unroll
      for (int p = 0; p < 8; ++p) stage[(row + i % 2 * 8) * kStagePitch + pixel + p] = sums_[i][p];
    }
  }

 private:
  float sums_[8][8] = {};
};

template <typename T>
using Sums = std::conditional_t<std::is_same_v<T, __half>, TensorCoreSums<T>, PlainSums<T>>;

// Shared memory of a block: two slabs, and after them the results of the warps.
template <typename T>
struct alignas(128) Memory {
  union {
    Slab<T> slabs[2];
    float stages[kThreads / kWarp][kPart * kStagePitch];
  };
};

// Multiplies the tile whose first row and pixel are given. `live` says which parts of this warp are wanted; the others
// stay 0. All threads of the block call it; shared memory may be used again on return.
template <bool kAligned, typename T>
__device__ void multiply_tile(const Operands<T>& in, int first_row, int first_pixel, unsigned live, Memory<T>& memory,
                              Sums<T>& sums) {
  constexpr int kDepth = Slab<T>::kDepth;
  const WarpPlace place = place_warp();
  const KernelRows<T> kernels(in, first_row);
  const int slabs = (in.channels + kDepth - 1) / kDepth;
  fetch_slab<kAligned>(in, kernels, first_pixel, 0, memory.slabs[0]);
  __pipeline_commit();
  for (int s = 0; s < slabs; ++s) {
    if (s + 1 < slabs) fetch_slab<kAligned>(in, kernels, first_pixel, (s + 1) * kDepth, memory.slabs[(s + 1) % 2]);
    __pipeline_commit();
    __pipeline_wait_prior(1);  // all but the newest: slab s is there
    __syncthreads();
    sums.add(memory.slabs[s % 2], place, live);
    __syncthreads();  // before slab s makes room for slab s + 2
  }
}

// The logits of one row at 16 pixels, as a lane reads them from its warp's stage: row lane % 16 of the part, and the
// pixels from lane / 16 * 16 on.
struct LaneLogits {
  float values[16];

  __device__ explicit LaneLogits(const float* stage) {
    const int lane = threadIdx.x % kWarp;
    const float* row = stage + lane % kPart * kStagePitch + lane / kPart * 16;
#pragma unroll
    for (int i = 0; i < 16; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(row + i);
      values[i] = four.x;
      values[i + 1] = four.y;
      values[i + 2] = four.z;
      values[i + 3] = four.w;
    }
  }
};

// Whether rows of kernels and of features can be fetched in whole, aligned vectors.
template <typename T>
bool is_vectorisable(const T* kernels, const T* features, int channels, int64_t pixels) {
  constexpr int kLength = Vector<T>::kLength;
  return is_aligned(kernels) && is_aligned(features) && channels % kLength == 0 && pixels % kLength == 0;
}

}  // namespace solo::conv
