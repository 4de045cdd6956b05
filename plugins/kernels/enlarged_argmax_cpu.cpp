#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "enlarged_argmax.h"
#include "parallel.h"
#include "target_clones.h"

namespace solo {
namespace {

constexpr int kMostChannels = 256;
constexpr int kTile = 8;      // pixels of a cell computed at a time: its usual width
constexpr int kBandRows = 8;  // rows computed by one thread at a time
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMost = std::numeric_limits<float>::max() / 2;  // logits whose differences are finite

// Where one pixel finds its two samples along an axis.
struct Tap {
  int32_t first, second;
  float weight;  // of the second
};

// In whole numbers, so that a pixel on a sample has a weight of 0: any other would count, times an infinite logit.
Tap tap_of(int pixel, int samples, int pixels, bool corners) {
  const int64_t unit = corners ? std::max(pixels - 1, 1) : int64_t{2} * pixels;
  const int64_t position = corners ? int64_t{pixel} * (samples - 1)  // in 1 / unit of a sample
                                   : std::max<int64_t>((2 * int64_t{pixel} + 1) * samples - pixels, 0);
  const int first = static_cast<int>(std::min<int64_t>(position / unit, samples - 1));
  const double weight = static_cast<double>(position - first * unit) / static_cast<double>(unit);
  return {first, std::min(first + 1, samples - 1), static_cast<float>(weight)};
}

uint8_t largest(const float* values, int channels) {
  float best = values[0] > -kInfinity ? values[0] : -kInfinity;  // NaN would stay the best: nothing is larger
  int found = 0;
  for (int c = 1; c < channels; ++c) {
    const bool larger = values[c] > best;
    best = larger ? values[c] : best;
    found = larger ? c : found;
  }
  return static_cast<uint8_t>(found);
}

// The order of the operands makes NaN the least one.
float finite(float logit) { return std::min(kMost, std::max(-kMost, logit)); }

// The logits of a row at the left edge of a cell with the corners a, b above c, d, and what is between both edges.
SOLO_CLONES void blend_corners(const float* a, const float* b, const float* c, const float* d, float weight,
                               int channels, float* __restrict left, float* __restrict slope) {
  for (int k = 0; k < channels; ++k) {
    const float upper_left = finite(a[k]), upper_right = finite(b[k]);
    left[k] = upper_left + weight * (finite(c[k]) - upper_left);
    slope[k] = upper_right + weight * (finite(d[k]) - upper_right) - left[k];
  }
}

// Labels of `count` pixels of a row of a cell.
SOLO_CLONES void label_pixels(const float* left, const float* slope, int channels, const float* weights, int count,
                              uint8_t* labels) {
  float best[kTile];
  int32_t found[kTile];
  for (int i = 0; i < kTile; ++i) {
    best[i] = left[0] + weights[i] * slope[0];
    found[i] = 0;
  }
  for (int c = 1; c < channels; ++c) {
    for (int i = 0; i < kTile; ++i) {
      const float value = left[c] + weights[i] * slope[c];
      const bool larger = value > best[i];
      best[i] = larger ? value : best[i];
      found[i] = larger ? c : found[i];
    }
  }
  for (int i = 0; i < count; ++i) labels[i] = static_cast<uint8_t>(found[i]);
}

// What all rows share.
struct Plan {
  const CoarseLogits& logits;
  const uint8_t* coarse;  // [height, width] label of every sample
  const Tap* columns;     // [count]
  int count;

  void label_cell(const Tap& row, int begin, int end, uint8_t* out) const {
    const int width = logits.width, channels = logits.channels;
    const Tap& column = columns[begin];
    const auto at = [&](int y, int x) { return logits.values + (int64_t{y} * width + x) * channels; };
    const float *a = at(row.first, column.first), *b = at(row.first, column.second);
    const float *c = at(row.second, column.first), *d = at(row.second, column.second);
    float left[kMostChannels], slope[kMostChannels];
    blend_corners(a, b, c, d, row.weight, channels, left, slope);
    for (int x = begin; x < end; x += kTile) {
      const int pixels = std::min(kTile, end - x);
      float weights[kTile] = {};
      for (int i = 0; i < pixels; ++i) weights[i] = columns[x + i].weight;
      label_pixels(left, slope, channels, weights, pixels, out + x);
    }
  }

  void label_row(const Tap& row, uint8_t* out) const {
    const uint8_t *upper = coarse + int64_t{row.first} * logits.width,
                  *lower = coarse + int64_t{row.second} * logits.width;
    for (int begin = 0, end = 0; begin < count; begin = end) {
      const Tap& column = columns[begin];
      while (end < count && columns[end].first == column.first) ++end;
      const uint8_t label = upper[column.first];
      const bool one = label == upper[column.second] && label == lower[column.first] && label == lower[column.second];
      if (one) {
        std::memset(out + begin, label, end - begin);
      } else {
        label_cell(row, begin, end, out);
      }
    }
  }
};

}  // namespace

int64_t enlarged_argmax_workspace(const CoarseLogits& logits, int columns) {
  return columns * int64_t{sizeof(Tap)} + int64_t{logits.height} * logits.width;
}

Status enlarged_argmax(const CoarseLogits& logits, FrameSize full, bool corners, int rows, int columns, int threads,
                       void* workspace, int64_t workspace_bytes, uint8_t* labels) {
  for (const int side : {logits.height, logits.width, rows, columns}) {
    if (side < 1 || side > kMaxSide) return Status::kBadSize;
  }
  if (rows > full.height || columns > full.width || full.height > kMaxSide || full.width > kMaxSide) {
    return Status::kBadSize;
  }
  if (logits.channels < 1 || logits.channels > kMostChannels || threads < 1) return Status::kBadArgument;
  if (workspace_bytes < enlarged_argmax_workspace(logits, columns)) return Status::kTooSmall;

  auto* taps = static_cast<Tap*>(workspace);
  for (int x = 0; x < columns; ++x) taps[x] = tap_of(x, logits.width, full.width, corners);
  auto* coarse = reinterpret_cast<uint8_t*>(taps + columns);
  parallel_for(threads, logits.height, [&](int, int64_t y) {
    for (int64_t i = y * logits.width; i < (y + 1) * logits.width; ++i) {
      coarse[i] = largest(logits.values + i * logits.channels, logits.channels);
    }
  });
  const Plan plan{logits, coarse, taps, columns};
  parallel_for(threads, (rows + kBandRows - 1) / kBandRows, [&](int, int64_t band) {
    const int begin = static_cast<int>(band) * kBandRows, end = std::min(begin + kBandRows, rows);
    for (int y = begin; y < end; ++y) {
      plan.label_row(tap_of(y, logits.height, full.height, corners), labels + int64_t{y} * columns);
    }
  });
  return Status::kOk;
}

}  // namespace solo
