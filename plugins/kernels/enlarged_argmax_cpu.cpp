#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "enlarged_argmax.h"
#include "parallel.h"
#include "target_clones.h"

namespace solo {
namespace {

constexpr int kMostChannels = 256;
constexpr int kTile = 8;      // pixels of a cell computed at a time: its usual width
constexpr int kBandRows = 8;  // rows computed by one thread at a time

// Where one pixel finds its two samples along an axis.
struct Tap {
  int32_t first, second;
  float weight;  // of the second
};

Tap tap_of(int pixel, int samples, int pixels, bool corners) {
  double position = 0;
  if (corners) {
    if (pixels > 1) position = pixel * (static_cast<double>(samples - 1) / (pixels - 1));
  } else {
    position = std::max(0.0, (pixel + 0.5) * (static_cast<double>(samples) / pixels) - 0.5);
  }
  const int first = std::min(static_cast<int>(position), samples - 1);
  return {first, std::min(first + 1, samples - 1), static_cast<float>(position - first)};
}

uint8_t largest(const float* values, int channels) {
  return static_cast<uint8_t>(std::max_element(values, values + channels) - values);
}

// Labels of `count` pixels between the logits `left` and `right`.
SOLO_CLONES void label_pixels(const float* left, const float* right, int channels, const float* weights, int count,
                              uint8_t* labels) {
  float best[kTile];
  int32_t found[kTile];
  for (int i = 0; i < kTile; ++i) {
    best[i] = left[0] + weights[i] * (right[0] - left[0]);
    found[i] = 0;
  }
  for (int c = 1; c < channels; ++c) {
    const float base = left[c], slope = right[c] - left[c];
    for (int i = 0; i < kTile; ++i) {
      const float value = base + weights[i] * slope;
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
    float left[kMostChannels], right[kMostChannels];
    for (int k = 0; k < channels; ++k) {
      left[k] = a[k] + row.weight * (c[k] - a[k]);
      right[k] = b[k] + row.weight * (d[k] - b[k]);
    }
    for (int x = begin; x < end; x += kTile) {
      const int pixels = std::min(kTile, end - x);
      float weights[kTile] = {};
      for (int i = 0; i < pixels; ++i) weights[i] = columns[x + i].weight;
      label_pixels(left, right, channels, weights, pixels, out + x);
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
