#include <algorithm>
#include <cmath>

#include "dynamic_conv.h"
#include "parallel.h"
#include "sigmoid.h"
#include "soft_maps.h"
#include "target_clones.h"

namespace solo {
namespace {

constexpr int64_t kMaxPlaneSide = 1 << 20;

bool fits(PlaneSize size) {
  return size.height >= 1 && size.width >= 1 && size.height <= kMaxPlaneSide && size.width <= kMaxPlaneSide;
}

bool same(PlaneSize a, PlaneSize b) { return a.height == b.height && a.width == b.width; }

int64_t area(PlaneSize size) { return size.height * size.width; }

// Where the samples of a resized axis come from: `lower` and the next one, which weighs `weight`.
struct Axis {
  int32_t* lower;
  float* weight;
  int64_t source;

  int64_t upper(int64_t i) const { return std::min<int64_t>(lower[i] + 1, source - 1); }
};

constexpr int64_t axis_numbers(int64_t target) { return 2 * target; }

Axis make_axis(int64_t source, int64_t target, float*& memory) {
  Axis axis{reinterpret_cast<int32_t*>(memory), memory + target, source};
  memory += axis_numbers(target);
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  for (int64_t i = 0; i < target; ++i) {
    const double position = std::max((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0);
    axis.lower[i] = static_cast<int32_t>(std::min<int64_t>(static_cast<int64_t>(position), source - 1));
    axis.weight[i] = static_cast<float>(position - axis.lower[i]);
  }
  return axis;
}

// A plane resized from one size to another.
struct Resize {
  PlaneSize from, to;
  Axis rows, columns;

  Resize(PlaneSize from, PlaneSize to, float*& memory)
      : from(from),
        to(to),
        rows(make_axis(from.height, to.height, memory)),
        columns(make_axis(from.width, to.width, memory)) {}

  static int64_t numbers(PlaneSize to) { return axis_numbers(to.height) + axis_numbers(to.width); }
};

SOLO_CLONES void blend(const float* a, const float* b, float weight, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] * (1.0f - weight) + b[i] * weight;
}

SOLO_CLONES void spread(const float* line, const int32_t* lower, const float* weight, int64_t count, int64_t last,
                        float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const float right = line[std::min<int64_t>(lower[i] + 1, last)];
    out[i] = line[lower[i]] * (1.0f - weight[i]) + right * weight[i];
  }
}

SOLO_CLONES void to_probabilities(const float* logits, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = fast_sigmoid(logits[i]);
}

// `line` holds one row of the source.
void resize(const Resize& resize, const float* source, float* line, float* out) {
  for (int64_t y = 0; y < resize.to.height; ++y) {
    const float* upper = source + resize.rows.lower[y] * resize.from.width;
    const float* lower = source + resize.rows.upper(y) * resize.from.width;
    blend(upper, lower, resize.rows.weight[y], resize.from.width, line);
    spread(line, resize.columns.lower, resize.columns.weight, resize.to.width, resize.from.width - 1,
           out + y * resize.to.width);
  }
}

// Scratch numbers of one thread: the map between both resizes, and a row.
int64_t scratch_numbers(PlaneSize source, PlaneSize between) {
  return area(between) + std::max(source.width, between.width);
}

// Writes the values of one mask, `count` of them from `start`.
SOLO_CLONES void multiply(const float* a, const float* b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

struct Factors {
  const float* first;
  const float* second;  // null: 1

  void read(int64_t start, int64_t count, float* out) const {
    if (second == nullptr) {
      std::copy_n(first + start, count, out);
    } else {
      multiply(first + start, second + start, count, out);
    }
  }
};

Factors factors_of(const SoftProducts& masks, int64_t r) {
  const int64_t plane = area(masks.size);
  return {masks.soft + masks.first[r] * plane,
          masks.second == nullptr ? nullptr : masks.soft + masks.second[r] * plane};
}

void binarise(const SoftProducts& masks, int64_t r, float threshold, uint64_t* bits, int32_t* mask_area, float* sum) {
  const Factors factors = factors_of(masks, r);
  const auto [height, width] = masks.size;
  const int64_t across = (width + kTileSide - 1) / kTileSide;
  std::fill_n(bits, mask_words(height, width), 0);
  double total = 0;
  int32_t found = 0;
  float values[kTileSide];
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t tile = 0; tile < across; ++tile) {
      const int64_t x = tile * kTileSide;
      const int64_t count = std::min<int64_t>(kTileSide, width - x);
      factors.read(y * width + x, count, values);
      uint64_t eight = 0;
      float part = 0;
      for (int64_t i = 0; i < count; ++i) {
        const bool inside = values[i] > threshold;
        eight |= static_cast<uint64_t>(inside) << i;
        part += inside ? values[i] : 0.0f;
      }
      if (eight == 0) continue;
      bits[y / kTileSide * across + tile] |= eight << (y % kTileSide * kTileSide);
      found += __builtin_popcountll(eight);
      total += static_cast<double>(part);
    }
  }
  *mask_area = found;
  *sum = static_cast<float>(total);
}

uint8_t to_byte(float p, float threshold) {
  const float inside = p * (1.0f - threshold);
  const float outside = (1.0f - p) * threshold;
  const float shifted = inside > 0.0f ? inside / (inside + outside) : 0.0f;
  const int value = static_cast<int>(255.0f * shifted + 0.5f);
  return static_cast<uint8_t>(p > threshold ? std::max(value, 128) : std::min(value, 127));
}

Status check_products(const SoftProducts& masks, float threshold, int threads) {
  if (masks.count < 0 || !fits(masks.size)) return Status::kBadSize;
  return threads < 1 || !(threshold >= 0.0f && threshold < 1.0f) ? Status::kBadArgument : Status::kOk;
}

bool fits(const LogitMaps& maps, PlaneSize between, PlaneSize grid) {
  return maps.count >= 0 && fits(maps.size) && fits(between) && fits(grid);
}

}  // namespace

int64_t enlarge_maps_workspace(const LogitMaps& maps, PlaneSize between, PlaneSize grid, int threads) {
  if (!fits(maps, between, grid) || threads < 1) return -1;
  const int64_t axes = Resize::numbers(between) + Resize::numbers(grid);
  return workspace_of(axes * int64_t{sizeof(float)}, scratch_numbers(maps.size, between) * int64_t{sizeof(float)},
                      threads_for_masks(maps.count, threads));
}

Status enlarge_maps(const LogitMaps& maps, PlaneSize between, PlaneSize grid, int threads, void* workspace,
                    int64_t workspace_bytes, float* soft) {
  if (!fits(maps, between, grid)) return Status::kBadSize;
  if (threads < 1) return Status::kBadArgument;
  const int64_t needed = enlarge_maps_workspace(maps, between, grid, threads);
  if (needed < 0) return Status::kBadSize;
  if (workspace_bytes < needed) return Status::kTooSmall;
  auto* memory = static_cast<float*>(workspace);
  const Resize first(maps.size, between, memory);
  const Resize second(between, grid, memory);
  parallel_for(threads_for_masks(maps.count, threads), maps.count, [&](int thread, int64_t r) {
    float* out = soft + r * area(grid);
    float* scratch = memory + thread * scratch_numbers(maps.size, between);
    float* line = scratch + area(between);
    float* middle = same(between, grid) ? out : scratch;
    const float* source = maps.maps + maps.rows[r] * area(maps.size);
    if (!same(maps.size, between)) {
      resize(first, source, line, middle);
      source = middle;
    }
    to_probabilities(source, area(between), middle);
    if (!same(between, grid)) resize(second, middle, line, out);
  });
  return Status::kOk;
}

Status binarise_products(const SoftProducts& masks, float threshold, int threads, uint64_t* bits, int32_t* areas,
                         float* soft_sums) {
  const Status status = check_products(masks, threshold, threads);
  if (status != Status::kOk) return status;
  const int64_t words = mask_words(masks.size.height, masks.size.width);
  parallel_for(threads_for_masks(masks.count, threads), masks.count,
               [&](int, int64_t r) { binarise(masks, r, threshold, bits + r * words, areas + r, soft_sums + r); });
  return Status::kOk;
}

Status crop_products(const SoftProducts& masks, float threshold, int threads, const int32_t* regions,
                     const int64_t* offsets, uint8_t* data) {
  const Status status = check_products(masks, threshold, threads);
  if (status != Status::kOk) return status;
  for (int64_t r = 0; r < masks.count; ++r) {
    const int32_t* box = regions + 4 * r;
    if (box[0] < 0 || box[1] < 0 || box[2] > masks.size.width || box[3] > masks.size.height) return Status::kBadSize;
    if (box[0] > box[2] || box[1] > box[3]) return Status::kBadSize;
    if (offsets[r + 1] - offsets[r] != int64_t{box[2] - box[0]} * (box[3] - box[1])) return Status::kBadSize;
  }
  parallel_for(threads_for_masks(masks.count, threads), masks.count, [&](int, int64_t r) {
    const Factors factors = factors_of(masks, r);
    const int32_t* box = regions + 4 * r;
    uint8_t* out = data + offsets[r];
    for (int64_t y = box[1]; y < box[3]; ++y) {
      for (int64_t x = box[0]; x < box[2]; ++x) {
        const int64_t i = y * masks.size.width + x;
        const float p = factors.second == nullptr ? factors.first[i] : factors.first[i] * factors.second[i];
        *out++ = to_byte(p, threshold);
      }
    }
  });
  return Status::kOk;
}

}  // namespace solo
