// Two launches: the product, whose blocks write bits and what they add up to, and the sum over the blocks of a mask in
// their order, which makes the result the same in every run.
#include "conv_shape.cuh"
#include "conv_tile.cuh"
#include "dynamic_conv_cuda.h"

namespace solo {
namespace {

using namespace conv;

constexpr int kWordsAcross = kPixels / 32;
constexpr int kReduceThreads = 256;

// What one tile adds to one mask.
struct alignas(8) Partial {
  int32_t area;
  float soft_sum;
};

struct Output {
  uint32_t* masks;    // [batch, slots, words]
  Partial* partials;  // [batch, slots, tiles]
  int words, tiles;
};

// One warp's share of the mask rows of a tile.
struct TileWords {
  uint32_t bits[kRows][kWordsAcross];
  float soft_sums[kRows][kWordsAcross];
};

// Turns the sums of one part into words and soft sums; `pixels_left` pixels exist from the warp's first one on.
__device__ void binarise_part(const float* stage, int row, int pixels_left, float threshold, TileWords& tile) {
  const int lane = threadIdx.x % kWarp, half = lane / kPart;
  const LaneLogits logits(stage);
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const bool exists = half * 16 + i < pixels_left;
    if (logits.values[i] > threshold && exists) bits |= 1u << i;
  }
  float sum = 0.0f;
  if (__any_sync(kFullWarp, bits != 0)) {  // most masks leave most of the picture empty
#pragma unroll
    for (int i = 0; i < 16; ++i) sum += bits & 1u << i ? sigmoid(logits.values[i]) : 0.0f;
  }
  const unsigned right_bits = __shfl_down_sync(kFullWarp, bits, kPart);
  const float right_sum = __shfl_down_sync(kFullWarp, sum, kPart);
  if (half == 0) {
    const int word = place_warp().pixel / 32;
    tile.bits[row + lane][word] = bits | right_bits << 16;
    tile.soft_sums[row + lane][word] = sum + right_sum;
  }
}

template <typename T, bool kAligned>
__global__ void __launch_bounds__(kThreads, 2)
    binarise(SoloConvShape shape, const T* kernels, const T* features, const int32_t* candidates, const int32_t* counts,
             float threshold, Output out) {
  __shared__ Memory<T> memory;
  __shared__ TileWords tile;
  const TilePlace tile_place(shape.slots);
  const int picture = blockIdx.z, first_row = tile_place.row, first_pixel = tile_place.pixel;
  const int rows = min(counts[2 * picture], shape.slots);
  if (first_row >= rows) return;
  const Operands<T> in = operands_of(shape, kernels, features, candidates, picture, rows);

  const WarpPlace place = place_warp();
  unsigned live = 0;
  for (int part = 0; part < kParts; ++part) {
    if (first_row + place.row + part * kPart < rows) live |= 1u << part;
  }
  Sums<T> sums;
  multiply_tile<kAligned>(in, first_row, first_pixel, live, memory, sums);

  float* stage = memory.stages[threadIdx.x / kWarp];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (!(live & 1u << part)) continue;
    sums.store(part, stage);
    __syncwarp();
    binarise_part(stage, place.row + part * kPart, in.pixels - first_pixel - place.pixel, threshold, tile);
    __syncwarp();
  }
  __syncthreads();

  const int row = threadIdx.x, slot = first_row + row;
  if (row >= kRows || slot >= rows) return;
  const int64_t mask = int64_t{picture} * shape.slots + slot;
  const int first_word = tile_place.across * kWordsAcross;
  Partial partial{};
#pragma unroll
  for (int i = 0; i < kWordsAcross; ++i) {
    if (first_word + i < out.words) out.masks[mask * out.words + first_word + i] = tile.bits[row][i];
    partial.area += __popc(tile.bits[row][i]);
    partial.soft_sum += tile.soft_sums[row][i];
  }
  out.partials[mask * out.tiles + tile_place.across] = partial;
}

// One warp adds up the tiles of one mask.
__global__ void __launch_bounds__(kReduceThreads)
    reduce(const Partial* partials, int tiles, int slots, const int32_t* counts, int32_t* areas, float* soft_sums) {
  const int slot = (blockIdx.x * kReduceThreads + threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  if (slot >= slots) return;
  const int64_t mask = int64_t{blockIdx.y} * slots + slot;
  Partial total{};
  if (slot < counts[2 * blockIdx.y]) {
    for (int tile = lane; tile < tiles; tile += kWarp) {
      const Partial partial = partials[mask * tiles + tile];
      total.area += partial.area;
      total.soft_sum += partial.soft_sum;
    }
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    total.area += __shfl_xor_sync(kFullWarp, total.area, step);
    total.soft_sum += __shfl_xor_sync(kFullWarp, total.soft_sum, step);
  }
  if (lane == 0) {
    areas[mask] = total.area;
    soft_sums[mask] = total.soft_sum;
  }
}

Partial* carve(const SoloConvShape& shape, Carver& carver) {
  return carver.take<Partial>(int64_t{shape.batch} * shape.slots * tiles_across(shape));
}

}  // namespace
}  // namespace solo

using namespace solo;

int64_t solo_cuda_mask_words(int32_t height, int32_t width) { return ceil_div(int64_t{height} * width, 32); }

int64_t solo_cuda_binarise_masks_workspace(const SoloConvShape* shape) {
  Carver carver(nullptr);
  carve(*shape, carver);
  return carver.used();
}

int solo_cuda_binarise_masks(const SoloConvShape* shape, const void* kernels, const void* features,
                             const int32_t* candidates, const int32_t* counts, float logit_threshold, void* workspace,
                             int64_t workspace_bytes, uint32_t* masks, int32_t* areas, float* soft_sums, void* stream) {
  const int bad = check_conv(*shape);
  if (bad != SOLO_OK) return bad;
  if (workspace_bytes < solo_cuda_binarise_masks_workspace(shape)) return SOLO_TOO_SMALL;
  Carver carver(workspace);
  Partial* partials = carve(*shape, carver);
  const auto tiles = static_cast<int>(tiles_across(*shape));
  const Output out{masks, partials, static_cast<int>(solo_cuda_mask_words(shape->height, shape->width)), tiles};
  const int status = with_operands(*shape, kernels, features, [&](auto* k, auto* f, auto aligned) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(k)>>;
    return launch(binarise<T, aligned.value>, tile_grid(*shape), kThreads, stream, *shape, k, f, candidates, counts,
                  logit_threshold, out);
  });
  if (status != SOLO_OK) return status;
  const auto blocks = static_cast<unsigned>(ceil_div(int64_t{shape->slots} * kWarp, kReduceThreads));
  return launch(reduce, dim3(blocks, shape->batch), kReduceThreads, stream, partials, tiles, shape->slots, counts,
                areas, soft_sums);
}
