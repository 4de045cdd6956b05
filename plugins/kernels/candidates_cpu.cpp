#include <algorithm>
#include <limits>

#include "candidates.h"

namespace solo {
namespace {

constexpr int64_t kChunk = 64;  // nearly all chunks hold no candidate: one vectorised test each

bool any_above(const float* scores, float threshold) {
  int32_t any = 0;
  for (int64_t i = 0; i < kChunk; ++i) any |= scores[i] > threshold;
  return any != 0;
}

}  // namespace

Status find_candidates(const float* scores, int64_t count, float threshold, int32_t* indices, int64_t capacity,
                       int64_t* found) {
  if (count < 0 || count > std::numeric_limits<int32_t>::max() || capacity < 0) return Status::kBadSize;
  int64_t n = 0;
  for (int64_t start = 0; start < count; start += kChunk) {
    const int64_t end = std::min(count, start + kChunk);
    if (end - start == kChunk && !any_above(scores + start, threshold)) continue;
    for (int64_t i = start; i < end; ++i) {
      if (!(scores[i] > threshold)) continue;
      if (n < capacity) indices[n] = static_cast<int32_t>(i);
      ++n;
    }
  }
  *found = n;
  return n <= capacity ? Status::kOk : Status::kTooSmall;
}

}  // namespace solo
