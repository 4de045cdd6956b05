// Two launches. Channels are cut into slabs of whole groups, 64 bytes of FP16 where groups are narrower, and a slab
// into pieces of pixels, one block each: first every block finds mean and squared differences of the groups of its
// piece, held in registers; then every block joins those of all pieces of its groups, in their order, and normalises
// its own piece, which comes from the second-level cache.
#include <algorithm>

#include "group_norm_cuda.h"
#include "launch.cuh"

namespace solo {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 8;  // pixels
constexpr int kSlots = 8;      // of a slab, where its groups are narrower
constexpr int kMaxGroupChannels = 256;

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

// How a block lies on a slab: `rows` pixels of `slots` neighbouring parts of one group each.
struct Slab {
  int groups, group_slots, slots, rows;
  int pieces;
};

// kLength neighbouring channels of a pixel, which are of one group.
template <typename T, int kLength>
struct alignas(kLength * sizeof(T)) Part {
  T values[kLength];
};

// Where a thread is, and the parts it has: those of kPerThread pixels that lie `rows` apart.
template <typename T, int kLength>
struct Elements {
  int slot, row, group, channel;
  int count = 0;
  int64_t start, step;  // in elements of the map
  Part<T, kLength> parts[kPerThread];

  __device__ Elements(const SoloGroupNorm& sizes, const Slab& slab, const T* input)
      : slot(static_cast<int>(threadIdx.x) % slab.slots),
        row(static_cast<int>(threadIdx.x) / slab.slots),
        group(static_cast<int>(blockIdx.y) * slab.groups + slot / slab.group_slots),
        channel((static_cast<int>(blockIdx.y) * slab.groups * slab.group_slots + slot) * kLength),
        step(int64_t{slab.rows} * sizes.channels) {
    const int first = static_cast<int>(blockIdx.x) * slab.rows * kPerThread + row;
    start = (int64_t{blockIdx.z} * sizes.pixels + first) * sizes.channels + channel;
    if (row >= slab.rows || group >= sizes.groups || first >= sizes.pixels) return;
    count = min(kPerThread, (sizes.pixels - first - 1) / slab.rows + 1);
#pragma unroll
    for (int p = 0; p < kPerThread; ++p) {
      if (p < count) parts[p] = *reinterpret_cast<const Part<T, kLength>*>(input + start + p * step);
    }
  }
};

// Joins what every thread has into row 0, slot by slot, in an order that depends on sizes alone.
__device__ void join_rows(const Slab& slab, const Moments& mine, Moments* all) {
  const auto thread = static_cast<int>(threadIdx.x);
  all[thread] = mine;
  __syncthreads();
  for (int left = slab.rows; left > 1;) {
    const int half = (left + 1) / 2;
    if (thread + half * slab.slots < left * slab.slots)
      all[thread] = join(all[thread], all[thread + half * slab.slots]);
    __syncthreads();
    left = half;
  }
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kThreads) measure(SoloGroupNorm sizes, Slab slab, const T* input, Moments* pieces) {
  __shared__ Moments all[kThreads];
  const Elements<T, kLength> elements(sizes, slab, input);
  Moments mine{static_cast<float>(elements.count * kLength), 0.0f, 0.0f};
#pragma unroll
  for (int p = 0; p < kPerThread; ++p) {
    if (p >= elements.count) continue;
    for (int i = 0; i < kLength; ++i) mine.mean += to_float(elements.parts[p].values[i]);
  }
  if (elements.count > 0) mine.mean /= mine.count;
#pragma unroll
  for (int p = 0; p < kPerThread; ++p) {
    if (p >= elements.count) continue;
    for (int i = 0; i < kLength; ++i) {
      const float difference = to_float(elements.parts[p].values[i]) - mine.mean;
      mine.squares += difference * difference;
    }
  }
  join_rows(slab, mine, all);
  if (elements.row > 0 || elements.slot % slab.group_slots != 0 || elements.group >= sizes.groups) return;
  Moments piece = all[elements.slot];
  for (int i = 1; i < slab.group_slots; ++i) piece = join(piece, all[elements.slot + i]);
  pieces[(int64_t{blockIdx.z} * slab.pieces + blockIdx.x) * sizes.groups + elements.group] = piece;
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kThreads)
    normalise(SoloGroupNorm sizes, Slab slab, const T* input, const Moments* pieces, const float* gamma,
              const float* beta, T* output) {
  __shared__ Moments all[kThreads];
  Elements<T, kLength> elements(sizes, slab, input);
  Moments mine{0.0f, 0.0f, 0.0f};
  for (int i = elements.row; i < slab.pieces && elements.group < sizes.groups; i += slab.rows) {
    mine = join(mine, pieces[(int64_t{blockIdx.z} * slab.pieces + i) * sizes.groups + elements.group]);
  }
  join_rows(slab, mine, all);
  if (elements.count == 0) return;
  const Moments group = all[elements.slot];
  const float scale = rsqrtf(group.squares / group.count + sizes.epsilon);
  float factors[kLength], offsets[kLength];
  for (int i = 0; i < kLength; ++i) {
    factors[i] = scale * gamma[elements.channel + i];
    offsets[i] = beta[elements.channel + i];
  }
#pragma unroll
  for (int p = 0; p < kPerThread; ++p) {
    if (p >= elements.count) continue;
    for (int i = 0; i < kLength; ++i) {
      const float value = (to_float(elements.parts[p].values[i]) - group.mean) * factors[i] + offsets[i];
      elements.parts[p].values[i] = from_float<T>(sizes.relu != 0 ? fmaxf(value, 0.0f) : value);
    }
    *reinterpret_cast<Part<T, kLength>*>(output + elements.start + p * elements.step) = elements.parts[p];
  }
}

// Returns the slabs of groups whose channels lie `length` to a slot.
Slab cut(const SoloGroupNorm& sizes, int length) {
  Slab slab{};
  slab.group_slots = sizes.channels / sizes.groups / length;
  slab.groups = std::min(sizes.groups, std::max(1, kSlots / slab.group_slots));
  slab.slots = slab.groups * slab.group_slots;
  slab.rows = kThreads / slab.slots;
  slab.pieces = static_cast<int>(ceil_div(sizes.pixels, int64_t{slab.rows} * kPerThread));
  return slab;
}

// Slots of one channel are no fewer, so that pieces are not either.
Moments* carve(const SoloGroupNorm& sizes, Carver& carver) {
  return carver.take<Moments>(int64_t{sizes.batch} * sizes.groups * cut(sizes, 1).pieces);
}

int check(const SoloGroupNorm& s) {
  if (s.batch < 1 || s.channels < 1 || s.pixels < 1 || s.groups < 1 || s.channels % s.groups != 0) return SOLO_BAD_SIZE;
  if (s.channels / s.groups > kMaxGroupChannels || s.batch > kMaxGridRows || s.groups > kMaxGridRows)
    return SOLO_BAD_SIZE;
  return s.epsilon > 0.0f && (s.relu == 0 || s.relu == 1) ? SOLO_OK : SOLO_BAD_ARGUMENT;
}

template <int kLength, typename T>
int run(const SoloGroupNorm& sizes, const T* input, const float* gamma, const float* beta, Moments* pieces, T* output,
        void* stream) {
  const Slab slab = cut(sizes, kLength);
  const dim3 grid(slab.pieces, static_cast<unsigned>(ceil_div(sizes.groups, slab.groups)), sizes.batch);
  const int status = launch(measure<T, kLength>, grid, kThreads, stream, sizes, slab, input, pieces);
  if (status != SOLO_OK) return status;
  return launch(normalise<T, kLength>, grid, kThreads, stream, sizes, slab, input, pieces, gamma, beta, output);
}

}  // namespace
}  // namespace solo

using namespace solo;

int64_t solo_cuda_group_norm_workspace(const SoloGroupNorm* sizes) {
  if (check(*sizes) != SOLO_OK) return 0;  // solo_cuda_group_norm says why
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
  const bool known = with_type(sizes->type, [&](auto zero) {
    using T = decltype(zero);
    const auto* in = static_cast<const T*>(input);
    auto* out = static_cast<T*>(output);
    const bool in_fours = sizes->channels / sizes->groups % 4 == 0 && is_aligned(in) && is_aligned(out);
    status = in_fours ? run<4>(*sizes, in, gamma, beta, pieces, out, stream)
                      : run<1>(*sizes, in, gamma, beta, pieces, out, stream);
  });
  return known ? status : SOLO_BAD_ARGUMENT;
}
