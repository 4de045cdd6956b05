#include <algorithm>
#include <limits>
#include <numeric>

#include "conv_tile.h"
#include "dynamic_conv.h"
#include "parallel.h"
#include "sigmoid.h"
#include "soft_value.h"

namespace solo {
namespace {

using namespace conv;

constexpr int64_t kWorkPerThread = 1 << 22;  // multiply-adds that outweigh the start of a thread (about 30 us)

// The part of the picture that one thread works on: up to kTiles tiles.
struct Block {
  const DynamicConv& conv;
  float threshold;
  int64_t first_tile;
  int tiles;
};

// Scratch memory of one thread.
struct Scratch {
  float* packed;    // [kTiles][kPixels / kSlice][channels][kSlice]
  float* extremes;  // [channels][2][kTiles]
  int32_t* rows;    // [kTiles][rows] the masks that may have a pixel in the tile
};

struct Bits {
  uint64_t* bits;  // [rows, words] of the whole picture
  int32_t* areas;  // [rows] of this block
  float* sums;     // [rows] of this block
};

struct Crops {
  const int32_t* regions;
  const int64_t* offsets;
  uint8_t* data;
};

// Returns the word of bits `logit > threshold`.
SOLO_INLINE uint64_t pack_bits(const float* logits, float threshold) {
  alignas(kAlignment) uint8_t flags[kPixels];
  for (int i = 0; i < kPixels; ++i) flags[i] = logits[i] > threshold;
  uint64_t word = 0;
  for (int byte = 0; byte < 8; ++byte) {
    uint64_t eight;
    std::memcpy(&eight, flags + 8 * byte, sizeof eight);
    word |= (eight * 0x0102040810204080u >> 56) << (8 * byte);  // gathers the lowest bits of eight bytes
  }
  return word;
}

// Returns the sum of sigmoid(logit) where logit > threshold, in a fixed order.
SOLO_INLINE float sum_soft(const float* logits, float threshold) {
  float lanes[kSlice] = {};
  for (int start = 0; start < kPixels; start += kSlice) {
    for (int i = 0; i < kSlice; ++i) {
      const float x = logits[start + i];
      lanes[i] += x > threshold ? fast_sigmoid(x) : 0.0f;
    }
  }
  for (int half = kSlice / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// Makes the pixels of a tile that lie behind the edge of the grid lower than any threshold.
SOLO_INLINE void cut_off(const TilePlace& place, float* logits) {
  for (int i = 0; i < kPixels; ++i) {
    if (i % kTileSide >= place.columns || i / kTileSide >= place.rows) {
      logits[i] = -std::numeric_limits<float>::infinity();
    }
  }
}

// Points `kernels` at those of the rows, the last one repeated up to kRows.
SOLO_INLINE void choose_kernels(const DynamicConv& conv, const int32_t* rows, int count, const float** kernels) {
  for (int r = 0; r < kRows; ++r) {
    kernels[r] = conv.kernels + conv.cells[rows[std::min(r, count - 1)]] * conv.channels;
  }
}

// Packs the tiles of the block and lists, for each of them, the masks that may have a pixel in it.
template <int kLanes>
SOLO_INLINE void prepare_block(const Block& block, const Scratch& scratch, int64_t* counts) {
  const DynamicConv& conv = block.conv;
  if (block.tiles < kTiles) std::fill_n(scratch.extremes, 2 * conv.channels * kTiles, 0.0f);
  for (int tile = 0; tile < block.tiles; ++tile) {
    const TilePlace place = place_tile(conv, block.first_tile + tile);
    pack_tile(conv, place, scratch.packed + tile * kPixels * conv.channels, scratch.extremes, tile);
  }
  std::fill_n(counts, kTiles, 0);
  alignas(kAlignment) Bounds bounds;
  for (int64_t first = 0; first < conv.rows; first += kRows) {
    const int group = static_cast<int>(std::min<int64_t>(kRows, conv.rows - first));
    int32_t rows[kRows];
    std::iota(rows, rows + kRows, static_cast<int32_t>(first));
    const float* kernels[kRows];
    choose_kernels(conv, rows, group, kernels);
    bound<kLanes>(scratch.extremes, conv.channels, kernels, bounds);
    for (int tile = 0; tile < block.tiles; ++tile) {
      int32_t* list = scratch.rows + tile * conv.rows;
      for (int r = 0; r < group; ++r) {
        list[counts[tile]] = rows[r];  // overwritten by the next one unless it counts
        counts[tile] += !(bounds[r][tile] <= block.threshold);
      }
    }
  }
}

template <int kLanes, int kVectors>
SOLO_INLINE void binarise_block(const Block& block, const Scratch& scratch, const Bits& out) {
  const DynamicConv& conv = block.conv;
  const int64_t words = mask_words(conv.height, conv.width);
  int64_t counts[kTiles];
  prepare_block<kLanes>(block, scratch, counts);
  for (int64_t row = 0; row < conv.rows; ++row) {
    std::fill_n(out.bits + row * words + block.first_tile, block.tiles, 0);
    out.areas[row] = 0;
    out.sums[row] = 0.0f;
  }
  alignas(kAlignment) Logits logits;
  for (int tile = 0; tile < block.tiles; ++tile) {
    const TilePlace place = place_tile(conv, block.first_tile + tile);
    const float* packed = scratch.packed + tile * kPixels * conv.channels;
    for (int64_t first = 0; first < counts[tile]; first += kRows) {
      const int32_t* rows = scratch.rows + tile * conv.rows + first;
      const int group = static_cast<int>(std::min<int64_t>(kRows, counts[tile] - first));
      const float* kernels[kRows];
      choose_kernels(conv, rows, group, kernels);
      multiply<kLanes, kVectors>(packed, conv.channels, kernels, logits);
      for (int r = 0; r < group; ++r) {
        if (!place.whole()) cut_off(place, logits[r]);
        const uint64_t set = pack_bits(logits[r], block.threshold);
        if (set == 0) continue;
        out.bits[rows[r] * words + block.first_tile + tile] = set;
        out.areas[rows[r]] += __builtin_popcountll(set);
        out.sums[rows[r]] += sum_soft(logits[r], block.threshold);
      }
    }
  }
}

// Writes what one tile contributes to the crop of one mask.
SOLO_INLINE void crop_tile(const Block& block, const TilePlace& place, const Crops& out, int64_t row,
                           const float* logits) {
  alignas(kAlignment) uint8_t values[kPixels];
  for (int i = 0; i < kPixels; ++i) {
    const float x = logits[i];
    values[i] = static_cast<uint8_t>(soft_byte(fast_sigmoid(x - block.threshold), x > block.threshold));
  }
  const int32_t* region = out.regions + 4 * row;
  const int64_t x0 = std::max<int64_t>(region[0], place.x0);
  const int64_t x1 = std::min<int64_t>(region[2], place.x0 + place.columns);
  const int64_t y0 = std::max<int64_t>(region[1], place.y0);
  const int64_t y1 = std::min<int64_t>(region[3], place.y0 + place.rows);
  for (int64_t y = y0; y < y1; ++y) {
    uint8_t* line = out.data + out.offsets[row] + (y - region[1]) * (region[2] - region[0]) - region[0];
    std::copy_n(values + (y - place.y0) * kTileSide + (x0 - place.x0), x1 - x0, line + x0);
  }
}

template <int kLanes, int kVectors>
SOLO_INLINE void crop_block(const Block& block, const Scratch& scratch, const Crops& out) {
  const DynamicConv& conv = block.conv;
  alignas(kAlignment) Logits logits;
  for (int tile = 0; tile < block.tiles; ++tile) {
    const TilePlace place = place_tile(conv, block.first_tile + tile);
    int64_t count = 0;
    for (int64_t row = 0; row < conv.rows; ++row) {
      const int32_t* region = out.regions + 4 * row;
      const bool meets = region[0] < place.x0 + place.columns && region[2] > place.x0 &&
                         region[1] < place.y0 + place.rows && region[3] > place.y0;
      if (meets) scratch.rows[count++] = static_cast<int32_t>(row);
    }
    if (count > 0) pack_tile(conv, place, scratch.packed);
    for (int64_t first = 0; first < count; first += kRows) {
      const int32_t* rows = scratch.rows + first;
      const int group = static_cast<int>(std::min<int64_t>(kRows, count - first));
      const float* kernels[kRows];
      choose_kernels(conv, rows, group, kernels);
      multiply<kLanes, kVectors>(scratch.packed, conv.channels, kernels, logits);
      for (int r = 0; r < group; ++r) crop_tile(block, place, out, rows[r], logits[r]);
    }
  }
}

using BinariseBlock = void(const Block&, const Scratch&, const Bits&);
using CropBlock = void(const Block&, const Scratch&, const Crops&);

#if defined(__x86_64__)
constexpr int kPlainVectors = 2;  // 6 x 2 vectors of sums in 16 registers
SOLO_TARGET_AVX512 void binarise_avx512(const Block& block, const Scratch& scratch, const Bits& out) {
  binarise_block<16, 4>(block, scratch, out);
}
SOLO_TARGET_AVX512 void crop_avx512(const Block& block, const Scratch& scratch, const Crops& out) {
  crop_block<16, 4>(block, scratch, out);
}
SOLO_TARGET_AVX2 void binarise_avx2(const Block& block, const Scratch& scratch, const Bits& out) {
  binarise_block<8, 2>(block, scratch, out);
}
SOLO_TARGET_AVX2 void crop_avx2(const Block& block, const Scratch& scratch, const Crops& out) {
  crop_block<8, 2>(block, scratch, out);
}
#else
constexpr int kPlainVectors = 4;  // 6 x 4 vectors of sums in 32 registers
#endif
void binarise_plain(const Block& block, const Scratch& scratch, const Bits& out) {
  binarise_block<4, kPlainVectors>(block, scratch, out);
}
void crop_plain(const Block& block, const Scratch& scratch, const Crops& out) {
  crop_block<4, kPlainVectors>(block, scratch, out);
}

BinariseBlock* binarise_for([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return binarise_avx512;
  if (isa == Isa::kAvx2) return binarise_avx2;
#endif
  return binarise_plain;
}

CropBlock* crop_for([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return crop_avx512;
  if (isa == Isa::kAvx2) return crop_avx2;
#endif
  return crop_plain;
}

int64_t block_count(const DynamicConv& conv) { return (mask_words(conv.height, conv.width) + kTiles - 1) / kTiles; }

Block block_at(const DynamicConv& conv, float threshold, int64_t index) {
  const int64_t first = index * kTiles;
  const int64_t left = mask_words(conv.height, conv.width) - first;
  return {conv, threshold, first, static_cast<int>(std::min<int64_t>(kTiles, left))};
}

// Bytes of scratch memory per thread, a multiple of the alignment.
int64_t scratch_bytes(const DynamicConv& conv) {
  const int64_t numbers = kTiles * kPixels * conv.channels + 2 * conv.channels * kTiles + kTiles * conv.rows;
  return numbers * 4;
}

Scratch scratch_of(const DynamicConv& conv, char* memory, int thread) {
  auto* packed = reinterpret_cast<float*>(memory + thread * scratch_bytes(conv));
  float* extremes = packed + kTiles * kPixels * conv.channels;
  return {packed, extremes, reinterpret_cast<int32_t*>(extremes + 2 * conv.channels * kTiles)};
}

char* aligned(void* memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  return reinterpret_cast<char*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

bool fits(const DynamicConv& conv) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (conv.rows < 0 || conv.channels < 1 || conv.height < 1 || conv.width < 1) return false;
  return conv.rows <= kMost && conv.channels <= kMost && conv.height <= kMost / conv.width;
}

// What both functions ask of their arguments.
Status check_call(const DynamicConv& conv, int threads, Isa isa, int64_t workspace_bytes) {
  if (!fits(conv)) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  const int64_t needed = dynamic_conv_workspace(conv, threads);
  if (needed < 0) return Status::kBadSize;
  return workspace_bytes < needed ? Status::kTooSmall : Status::kOk;
}

// For masks of so many pixels; most of them for whole ones.
int useful_threads(const DynamicConv& conv, int64_t pixels, int threads) {
  const double work = static_cast<double>(conv.rows) * static_cast<double>(conv.channels * pixels);
  const auto most = static_cast<double>(std::min<int64_t>(threads, block_count(conv)));
  return static_cast<int>(std::clamp(work / kWorkPerThread, 1.0, most));
}

int most_threads(const DynamicConv& conv, int threads) {
  return useful_threads(conv, conv.height * conv.width, threads);
}

}  // namespace

int64_t dynamic_conv_workspace(const DynamicConv& conv, int threads) {
  if (!fits(conv) || threads < 1) return -1;
  const int64_t partials = block_count(conv) * conv.rows * 2;  // float32 and int32 [blocks][rows]
  return workspace_of(kAlignment + partials * 4, scratch_bytes(conv), most_threads(conv, threads));
}

Status binarise_masks(const DynamicConv& conv, float logit_threshold, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, uint64_t* bits, int32_t* areas, float* soft_sums) {
  const Status status = check_call(conv, threads, isa, workspace_bytes);
  if (status != Status::kOk || conv.rows == 0) return status;
  const int64_t blocks = block_count(conv);
  const int used = most_threads(conv, threads);
  char* memory = aligned(workspace);
  auto* sums = reinterpret_cast<float*>(memory + used * scratch_bytes(conv));
  auto* counts = reinterpret_cast<int32_t*>(sums + blocks * conv.rows);
  BinariseBlock* binarise = binarise_for(isa);
  parallel_for(used, blocks, [&](int thread, int64_t block) {
    binarise(block_at(conv, logit_threshold, block), scratch_of(conv, memory, thread),
             {bits, counts + block * conv.rows, sums + block * conv.rows});
  });
  for (int64_t r = 0; r < conv.rows; ++r) {  // in the order of the blocks, whoever computed them
    int32_t area = 0;
    double sum = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      area += counts[block * conv.rows + r];
      sum += static_cast<double>(sums[block * conv.rows + r]);
    }
    areas[r] = area;
    soft_sums[r] = static_cast<float>(sum);
  }
  return Status::kOk;
}

Status crop_masks(const DynamicConv& conv, float logit_threshold, int threads, Isa isa, void* workspace,
                  int64_t workspace_bytes, const int32_t* regions, const int64_t* offsets, uint8_t* data) {
  const Status status = check_call(conv, threads, isa, workspace_bytes);
  if (status != Status::kOk || conv.rows == 0) return status;
  for (int64_t r = 0; r < conv.rows; ++r) {
    const int32_t* region = regions + 4 * r;
    if (region[0] < 0 || region[1] < 0 || region[2] > conv.width || region[3] > conv.height) return Status::kBadSize;
    if (region[0] >= region[2] || region[1] >= region[3]) return Status::kBadSize;
    const int64_t area = static_cast<int64_t>(region[2] - region[0]) * (region[3] - region[1]);
    if (offsets[r + 1] - offsets[r] != area) return Status::kBadSize;
  }
  char* memory = aligned(workspace);
  CropBlock* crop = crop_for(isa);
  const int64_t mean_area = (offsets[conv.rows] - offsets[0]) / conv.rows;
  parallel_for(useful_threads(conv, mean_area, threads), block_count(conv), [&](int thread, int64_t block) {
    crop(block_at(conv, logit_threshold, block), scratch_of(conv, memory, thread), {regions, offsets, data});
  });
  return Status::kOk;
}

}  // namespace solo
