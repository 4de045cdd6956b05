// Two launches. A group is cut into pieces of 4096 elements, one block each: first every block finds mean and squared
// differences of its piece, held in registers; then every block joins those of all pieces of its group, in their order,
// and normalises its own piece, which comes from the second-level cache.
#include "group_norm_cuda.h"
#include "launch.cuh"

namespace solo {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr int kPiece = kThreads * kPerThread;

// Mean and sum of squared differences from it, of `count` elements.
struct Moments {
  float count, mean, squares;
};

// Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
__device__ Moments join(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0.0f) return a;
  const float delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

__device__ Moments join_warp(Moments moments) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Moments other{__shfl_down_sync(kFullWarp, moments.count, step),
                        __shfl_down_sync(kFullWarp, moments.mean, step),
                        __shfl_down_sync(kFullWarp, moments.squares, step)};
    moments = join(moments, other);
  }
  return moments;  // of the warp in lane 0
}

// Returns the moments of all threads, to all of them.
__device__ Moments join_block(const Moments& mine) {
  __shared__ Moments warps[kThreads / kWarp];
  const Moments warp = join_warp(mine);
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = warp;
  __syncthreads();
  Moments all = warps[0];
  for (int i = 1; i < kThreads / kWarp; ++i) all = join(all, warps[i]);
  return all;
}

// The elements of a piece that a thread has: vectors that lie kThreads vectors apart.
template <typename T>
struct Elements {
  static constexpr int kLength = Vector<T>::kLength;
  static constexpr int kVectors = kPerThread / kLength;
  Vector<T> vectors[kVectors];

  __device__ static int64_t place(int vector) {
    return int64_t{blockIdx.x} * kPiece + (vector * kThreads + static_cast<int>(threadIdx.x)) * kLength;
  }
  __device__ Elements(const T* group, int64_t size, bool aligned) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t start = place(v);
      if (aligned && start < size) {
        vectors[v] = *reinterpret_cast<const Vector<T>*>(group + start);
      } else {
        for (int i = 0; i < kLength; ++i) vectors[v].values[i] = start + i < size ? group[start + i] : T(0.0f);
      }
    }
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreads) measure(const T* input, int64_t size, bool aligned, Moments* pieces) {
  const Elements<T> elements(input + blockIdx.y * size, size, aligned);
  constexpr int kLength = Elements<T>::kLength;
  Moments mine{0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int v = 0; v < Elements<T>::kVectors; ++v) {
    for (int i = 0; i < kLength; ++i) {
      if (Elements<T>::place(v) + i >= size) continue;
      mine.count += 1.0f;
      mine.mean += to_float(elements.vectors[v].values[i]);
    }
  }
  if (mine.count > 0.0f) mine.mean /= mine.count;
#pragma unroll
  for (int v = 0; v < Elements<T>::kVectors; ++v) {
    for (int i = 0; i < kLength; ++i) {
      if (Elements<T>::place(v) + i >= size) continue;
      const float difference = to_float(elements.vectors[v].values[i]) - mine.mean;
      mine.squares += difference * difference;
    }
  }
  const Moments piece = join_block(mine);
  if (threadIdx.x == 0) pieces[blockIdx.y * gridDim.x + blockIdx.x] = piece;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    normalise(SoloGroupNorm sizes, const T* input, int64_t size, bool aligned, const Moments* pieces,
              const float* gamma, const float* beta, T* output) {
  Elements<T> elements(input + blockIdx.y * size, size, aligned);
  Moments mine{0.0f, 0.0f, 0.0f};
  for (int i = threadIdx.x; i < static_cast<int>(gridDim.x); i += kThreads) {
    mine = join(mine, pieces[blockIdx.y * gridDim.x + i]);
  }
  const Moments all = join_block(mine);
  const float scale = rsqrtf(all.squares / all.count + sizes.epsilon);

  const int group_channels = sizes.channels / sizes.groups;
  const int first_channel = static_cast<int>(blockIdx.y % sizes.groups) * group_channels;
  T* group = output + blockIdx.y * size;
#pragma unroll
  for (int v = 0; v < Elements<T>::kVectors; ++v) {
    const int64_t start = Elements<T>::place(v);
    if (start >= size) continue;
    int channel = first_channel + static_cast<int>(start / sizes.pixels);
    auto left = static_cast<int>(sizes.pixels - start % sizes.pixels);  // elements of this channel
    for (int i = 0; i < Elements<T>::kLength && start + i < size; ++i, --left) {
      if (left == 0) {
        ++channel;
        left = sizes.pixels;
      }
      const float factor = scale * gamma[channel];
      const float value = (to_float(elements.vectors[v].values[i]) - all.mean) * factor + beta[channel];
      elements.vectors[v].values[i] = from_float<T>(sizes.relu != 0 ? fmaxf(value, 0.0f) : value);
    }
    if (aligned) {
      *reinterpret_cast<Vector<T>*>(group + start) = elements.vectors[v];
    } else {
      for (int i = 0; i < Elements<T>::kLength && start + i < size; ++i)
        group[start + i] = elements.vectors[v].values[i];
    }
  }
}

int64_t group_size(const SoloGroupNorm& sizes) { return int64_t{sizes.channels} / sizes.groups * sizes.pixels; }

Moments* carve(const SoloGroupNorm& sizes, Carver& carver) {
  return carver.take<Moments>(int64_t{sizes.batch} * sizes.groups * ceil_div(group_size(sizes), kPiece));
}

int check(const SoloGroupNorm& s) {
  if (s.batch < 1 || s.channels < 1 || s.pixels < 1 || s.groups < 1 || s.channels % s.groups != 0) return SOLO_BAD_SIZE;
  if (int64_t{s.batch} * s.groups > kMaxGridRows) return SOLO_BAD_SIZE;
  return s.epsilon > 0.0f && (s.relu == 0 || s.relu == 1) ? SOLO_OK : SOLO_BAD_ARGUMENT;
}

}  // namespace
}  // namespace solo

using namespace solo;

int64_t solo_cuda_group_norm_workspace(const SoloGroupNorm* sizes) {
  Carver carver(nullptr);
  carve(*sizes, carver);
  return carver.used();
}

int solo_cuda_group_norm(const SoloGroupNorm* sizes, const void* input, const float* gamma, const float* beta,
                         void* workspace, int64_t workspace_bytes, void* output, void* stream) {
  int status = check(*sizes);
  if (status != SOLO_OK) return status;
  if (workspace_bytes < solo_cuda_group_norm_workspace(sizes)) return SOLO_TOO_SMALL;
  Carver carver(workspace);
  Moments* pieces = carve(*sizes, carver);
  const int64_t size = group_size(*sizes);
  const dim3 grid(static_cast<unsigned>(ceil_div(size, kPiece)), sizes->batch * sizes->groups);
  const bool known = with_type(sizes->type, [&](auto zero) {
    using T = decltype(zero);
    const auto* in = static_cast<const T*>(input);
    auto* out = static_cast<T*>(output);
    const bool aligned = is_aligned(in) && is_aligned(out) && size % Vector<T>::kLength == 0;
    status = launch(measure<T>, grid, kThreads, stream, in, size, aligned, pieces);
    if (status != SOLO_OK) return;
    status = launch(normalise<T>, grid, kThreads, stream, *sizes, in, size, aligned, pieces, gamma, beta, out);
  });
  return known ? status : SOLO_BAD_ARGUMENT;
}
