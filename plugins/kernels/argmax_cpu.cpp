#include <algorithm>
#include <limits>

#include "argmax.h"
#include "parallel.h"
#include "target_clones.h"

namespace solo {
namespace {

constexpr int kTile =
    1024;  // columns that go through all channels together; 8 KiB, which stay in the first-level cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();

SOLO_CLONES void take_larger(const float* values, int count, int32_t channel, float* best, int32_t* labels) {
  for (int i = 0; i < count; ++i) {
    const bool larger = values[i] > best[i];
    best[i] = larger ? values[i] : best[i];
    labels[i] = larger ? channel : labels[i];
  }
}

}  // namespace

Status argmax(const Logits& logits, int rows, int columns, int threads, uint8_t* labels) {
  if (rows < 1 || columns < 1 || rows > logits.height || columns > logits.width) return Status::kBadSize;
  if (logits.channels < 1 || logits.channels > 256 || threads < 1) return Status::kBadArgument;
  const int64_t plane = int64_t{logits.height} * logits.width;
  parallel_for(threads, rows, [&](int, int64_t row) {
    float best[kTile];
    int32_t found[kTile];
    for (int x = 0; x < columns; x += kTile) {
      const int count = std::min(kTile, columns - x);
      const float* values = logits.values + row * logits.width + x;
      // NaN would stay the best: nothing is larger.
      std::transform(values, values + count, best, [](float value) { return value > -kInfinity ? value : -kInfinity; });
      std::fill(found, found + count, 0);
      for (int c = 1; c < logits.channels; ++c) take_larger(values + c * plane, count, c, best, found);
      std::copy(found, found + count, labels + row * columns + x);
    }
  });
  return Status::kOk;
}

}  // namespace solo
