#include <algorithm>

#include "channels_first.h"

namespace solo {
namespace {

constexpr int64_t kLine = 16;  // floats of a line of the cache, which is written whole: planes lie far apart

}  // namespace

Status channels_first(const float* values, int64_t pixels, int64_t channels, float* out) {
  if (pixels < 1 || channels < 1) return Status::kBadSize;
  for (int64_t first = 0; first < pixels; first += kLine) {
    const int64_t end = std::min(first + kLine, pixels);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = first; p < end; ++p) out[c * pixels + p] = values[p * channels + c];
    }
  }
  return Status::kOk;
}

}  // namespace solo
