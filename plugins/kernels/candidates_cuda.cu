// Two launches: all threads append what is above the threshold to a list, in any order; then one block per picture
// sorts the list, which makes the result independent of that order. The list can hold every score, so nothing is lost.
#include "block_sort.cuh"
#include "candidates_cuda.h"
#include "launch.cuh"
#include "ordering.h"

namespace solo {
namespace {

constexpr int kCollectThreads = 256;
constexpr int kOrderThreads = 1024;
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;

// Each thread looks at one vector of scores; a warp reserves room for all it found with one atomic operation.
template <typename T>
__global__ void __launch_bounds__(kCollectThreads)
    collect(const T* scores, int64_t count, float threshold, bool aligned, uint64_t* keys, int* found) {
  constexpr int kLength = Vector<T>::kLength;
  scores += blockIdx.y * count;
  keys += blockIdx.y * count;
  const int64_t start = (int64_t{blockIdx.x} * kCollectThreads + threadIdx.x) * kLength;
  Vector<T> vector;
  if (aligned && start + kLength <= count) {
    vector = *reinterpret_cast<const Vector<T>*>(scores + start);
  } else {
    for (int i = 0; i < kLength; ++i) vector.values[i] = start + i < count ? scores[start + i] : T(0.0f);
  }
  unsigned above = 0;
#pragma unroll
  for (int i = 0; i < kLength; ++i) {
    if (to_float(vector.values[i]) > threshold && start + i < count) above |= 1u << i;
  }
  if (!__any_sync(kFullWarp, above != 0)) return;

  const int lane = threadIdx.x % kWarp;
  int end = __popc(above);  // becomes the sum over this lane and the ones before
  for (int step = 1; step < kWarp; step *= 2) {
    const int before = __shfl_up_sync(kFullWarp, end, step);
    if (lane >= step) end += before;
  }
  int base = 0;
  if (lane == kWarp - 1) base = atomicAdd(found + blockIdx.y, end);
  base = __shfl_sync(kFullWarp, base, kWarp - 1);
  int place = base + end - __popc(above);
#pragma unroll
  for (int i = 0; i < kLength; ++i) {
    if (above & 1u << i) keys[place++] = rank_key(to_float(vector.values[i]), static_cast<int32_t>(start + i));
  }
}

// Returns the `wanted`-th smallest of `count` distinct keys, 1 <= wanted <= count, digit by digit from the top.
__device__ uint64_t select_key(const uint64_t* keys, int count, int wanted) {
  __shared__ int histogram[kDigits];
  __shared__ int digit, left;
  if (threadIdx.x == 0) left = wanted;
  uint64_t prefix = 0;
  for (int shift = 64 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (int i = threadIdx.x; i < kDigits; i += blockDim.x) histogram[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      const uint64_t key = keys[i];
      const bool same_prefix = shift == 64 - kDigitBits || (key ^ prefix) >> (shift + kDigitBits) == 0;
      if (same_prefix) atomicAdd(&histogram[key >> shift & (kDigits - 1)], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      digit = 0;
      while (histogram[digit] < left) left -= histogram[digit++];
    }
    __syncthreads();
    prefix |= static_cast<uint64_t>(digit) << shift;
  }
  return prefix;
}

__global__ void __launch_bounds__(kOrderThreads) order(const uint64_t* keys, int64_t stride, const int* found,
                                                       int slots, float* scores, int32_t* candidates, int32_t* counts) {
  __shared__ uint64_t best[SOLO_MAX_SLOTS];
  __shared__ int taken;
  keys += blockIdx.x * stride;
  const int all = found[blockIdx.x], n = min(all, slots);
  int loaded = all;
  if (all <= SOLO_MAX_SLOTS) {
    for (int i = threadIdx.x; i < all; i += kOrderThreads) best[i] = keys[i];
  } else {
    if (threadIdx.x == 0) taken = 0;
    const uint64_t last = select_key(keys, all, n);  // its barriers order `taken` too
    for (int i = threadIdx.x; i < all; i += kOrderThreads) {
      if (keys[i] <= last) best[atomicAdd(&taken, 1)] = keys[i];
    }
    loaded = n;
  }
  const int size = sort_size(loaded);
  for (int i = loaded + threadIdx.x; i < size; i += kOrderThreads) best[i] = ~uint64_t{0};
  __syncthreads();
  sort_block(best, size);

  for (int i = threadIdx.x; i < slots; i += kOrderThreads) {
    scores[blockIdx.x * slots + i] = i < n ? score_of_key(best[i]) : 0.0f;
    candidates[blockIdx.x * slots + i] = i < n ? index_of_key(best[i]) : 0;
  }
  if (threadIdx.x == 0) {
    counts[2 * blockIdx.x] = n;
    counts[2 * blockIdx.x + 1] = all;
  }
}

struct Workspace {
  explicit Workspace(void* memory, int32_t batch, int64_t count) : carver(memory) {
    found = carver.take<int>(batch);
    keys = carver.take<uint64_t>(batch * count);
  }

  Carver carver;
  int* found;      // [batch]
  uint64_t* keys;  // [batch, count]
};

}  // namespace
}  // namespace solo

using namespace solo;

int64_t solo_cuda_find_candidates_workspace(int32_t batch, int64_t count) {
  return Workspace(nullptr, batch, count).carver.used();
}

int solo_cuda_find_candidates(const void* scores, int32_t type, int32_t batch, int64_t count, float threshold,
                              int32_t slots, void* workspace, int64_t workspace_bytes, float* best_scores,
                              int32_t* candidates, int32_t* counts, void* stream) {
  if (batch < 1 || batch > kMaxGridRows || count < 1 || count > INT32_MAX) return SOLO_BAD_SIZE;
  if (slots < 1 || slots > SOLO_MAX_SLOTS) return SOLO_BAD_SIZE;
  if (workspace_bytes < solo_cuda_find_candidates_workspace(batch, count)) return SOLO_TOO_SMALL;
  const Workspace scratch(workspace, batch, count);
  int status = SOLO_OK;
  const bool known = with_type(type, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kLength = Vector<T>::kLength;
    const auto clear = cudaMemsetAsync(scratch.found, 0, sizeof(int) * batch, static_cast<cudaStream_t>(stream));
    if ((status = cuda_status(clear)) != SOLO_OK) return;
    const auto blocks = static_cast<unsigned>(ceil_div(count, kCollectThreads * kLength));
    const bool aligned = is_aligned(scores) && count % kLength == 0;
    status = launch(collect<T>, dim3(blocks, batch), kCollectThreads, stream, static_cast<const T*>(scores), count,
                    threshold, aligned, scratch.keys, scratch.found);
  });
  if (!known) return SOLO_BAD_ARGUMENT;
  if (status != SOLO_OK) return status;
  return launch(order, dim3(batch), kOrderThreads, stream, scratch.keys, count, scratch.found, slots, best_scores,
                candidates, counts);
}
