#include <algorithm>

#include "label_counts.h"

namespace solo {

Status count_labels(const LabelMap& map, FrameSize frame, int64_t* counts) {
  if (const Status status = check_labels(map, frame); status != Status::kOk) return status;
  std::fill(counts, counts + kLabels, int64_t{0});
  for (int row = 0; row < map.height; ++row) {
    const int64_t lines = first_pixel(row + 1, map.height, frame.height) - first_pixel(row, map.height, frame.height);
    if (lines == 0) continue;
    LabelRuns runs(map.labels + row * map.stride, map.width, frame.width);
    for (int x = 0; x < frame.width; runs.advance()) {
      counts[runs.label()] += lines * (runs.end() - x);
      x = runs.end();
    }
  }
  return Status::kOk;
}

}  // namespace solo
