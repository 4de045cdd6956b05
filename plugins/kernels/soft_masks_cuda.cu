// Two launches: the boxes of the bit masks, and the product of the dynamic convolution once more, for the instances
// alone and only in tiles that some region meets. The same tile gives the same logits, so bits and bytes agree.
#include "conv_shape.cuh"
#include "conv_tile.cuh"
#include "region.h"
#include "soft_masks_cuda.h"
#include "soft_value.h"

namespace solo {
namespace {

using namespace conv;

constexpr int kBoxThreads = 256;

// One block per instance.
__global__ void __launch_bounds__(kBoxThreads)
    find_regions(const uint32_t* masks, int words, int mask_slots, const int32_t* num_dets, const int32_t* slots,
                 int height, int width, int32_t* regions) {
  __shared__ Box total;
  const int instance = blockIdx.x, picture = blockIdx.y;
  const int64_t place = int64_t{picture} * gridDim.x + instance;
  if (threadIdx.x == 0) total = empty_box();
  __syncthreads();
  const int slot = instance < num_dets[picture] ? slots[place] : -1;
  if (slot >= 0 && slot < mask_slots) {  // see Operands
    const uint32_t* mask = masks + (int64_t{picture} * mask_slots + slot) * words;
    Box box = empty_box();
    for (int word = threadIdx.x; word < words; word += kBoxThreads) add_word(mask[word], word, width, &box);
    if (box.x1 > 0) {
      atomicMin(&total.x0, box.x0);
      atomicMin(&total.y0, box.y0);
      atomicMax(&total.x1, box.x1);
      atomicMax(&total.y1, box.y1);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const Box region = widen(total, height, width);
    regions[4 * place] = region.x0;
    regions[4 * place + 1] = region.y0;
    regions[4 * place + 2] = region.x1;
    regions[4 * place + 3] = region.y1;
  }
}

// Sixteen bytes of one row, in `count` of whose pixels the grid ends.
__device__ void write_bytes(const uint32_t (&four)[4], uint8_t* to, int count, bool aligned) {
  if (aligned && count >= 16) {
    *reinterpret_cast<uint4*>(to) = make_uint4(four[0], four[1], four[2], four[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (i < count) to[i] = static_cast<uint8_t>(four[i / 4] >> i % 4 * 8);
  }
}

// Packs the 16 pixels of a lane from `pixel` on; those outside the region become 0.
__device__ void pack_bytes(const LaneLogits& logits, int pixel, int width, const int32_t* region, float threshold,
                           uint32_t (&four)[4]) {
  int x = pixel % width, y = pixel / width;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const float logit = logits.values[i];
    const bool in_region = x >= region[0] && x < region[2] && y >= region[1] && y < region[3];
    const int byte = in_region ? soft_byte(sigmoid(logit - threshold), logit > threshold) : 0;
    four[i / 4] |= static_cast<uint32_t>(byte) << i % 4 * 8;
    if (++x == width) {
      x = 0;
      ++y;
    }
  }
}

template <typename T, bool kAligned>
__global__ void __launch_bounds__(kThreads, 2)
    soften(SoloConvShape shape, const T* kernels, const T* features, const int32_t* num_dets, const int32_t* cells,
           float threshold, const int32_t* regions, uint8_t* soft) {
  __shared__ Memory<T> memory;
  __shared__ int32_t row_regions[kRows][4];
  const TilePlace tile_place(shape.slots);
  const int picture = blockIdx.z, first_row = tile_place.row, first_pixel = tile_place.pixel;
  const int rows = min(num_dets[picture], shape.slots);
  if (first_row >= rows) return;
  const Operands<T> in = operands_of(shape, kernels, features, cells, picture, rows);
  regions += int64_t{picture} * shape.slots * 4;
  soft += int64_t{picture} * shape.slots * in.pixels;

  for (int i = threadIdx.x; i < 4 * kRows; i += kThreads) {
    const bool exists = first_row + i / 4 < rows;
    row_regions[i / 4][i % 4] = exists ? regions[4 * first_row + i] : 0;
  }
  __syncthreads();
  const WarpPlace place = place_warp();
  const int lane = threadIdx.x % kWarp;
  const int first_y = first_pixel / shape.width, last_y = (first_pixel + kPixels - 1) / shape.width;
  unsigned live = 0;  // parts with a region in the grid rows of this tile
  for (int part = 0; part < kParts; ++part) {
    const int32_t* region = row_regions[place.row + part * kPart + lane % kPart];
    if (__any_sync(kFullWarp, region[1] <= last_y && region[3] > first_y)) live |= 1u << part;
  }
  Sums<T> sums;
  if (__syncthreads_or(live != 0)) {
    multiply_tile<kAligned>(in, first_row, first_pixel, live, memory, sums);
  }

  float* stage = memory.stages[threadIdx.x / kWarp];
  const bool aligned = in.pixels % 16 == 0 && is_aligned(soft);
  const int pixel = first_pixel + place.pixel + lane / kPart * 16;
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int row = place.row + part * kPart + lane % kPart;
    uint32_t four[4] = {};
    if (live & 1u << part) {
      sums.store(part, stage);
      __syncwarp();
      pack_bytes(LaneLogits(stage), pixel, shape.width, row_regions[row], threshold, four);
      __syncwarp();
    }
    if (first_row + row < rows) {
      write_bytes(four, soft + int64_t{first_row + row} * in.pixels + pixel, in.pixels - pixel, aligned);
    }
  }
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_soft_masks(const SoloConvShape* shape, const void* kernels, const void* features, const uint32_t* masks,
                         int32_t mask_slots, const int32_t* num_dets, const int32_t* cells,
                         const int32_t* mask_slots_of, float logit_threshold, int32_t* regions, uint8_t* soft,
                         void* stream) {
  const int bad = check_conv(*shape);
  if (bad != SOLO_OK) return bad;
  if (mask_slots < 1) return SOLO_BAD_SIZE;
  const auto words = static_cast<int>(solo_cuda_mask_words(shape->height, shape->width));
  const int status = launch(find_regions, dim3(shape->slots, shape->batch), kBoxThreads, stream, masks, words,
                            mask_slots, num_dets, mask_slots_of, shape->height, shape->width, regions);
  if (status != SOLO_OK) return status;
  return with_operands(*shape, kernels, features, [&](auto* k, auto* f, auto aligned) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(k)>>;
    return launch(soften<T, aligned.value>, tile_grid(*shape), kThreads, stream, *shape, k, f, num_dets, cells,
                  logit_threshold, regions, soft);
  });
}
