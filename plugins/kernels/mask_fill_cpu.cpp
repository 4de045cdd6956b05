#include <algorithm>
#include <cstring>

#include "mask_fill.h"
#include "mask_lines.h"

namespace solo {

Status fill_mask(const SoftMasks& masks, int64_t index, const Window& window) {
  if (window.x < 0 || window.y < 0 || window.width < 1 || window.height < 1) return Status::kBadSize;
  if (window.x > kMaxSide - window.width || window.y > kMaxSide - window.height) return Status::kBadSize;
  const FrameSize frame{window.y + window.height, window.x + window.width};  // as much of it as matters
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  if (index < 0 || index >= masks.count) return Status::kBadArgument;

  Run runs[kMaxRuns];
  const MaskLines rows(masks, index, frame, MaskLines::Direction::kRows);
  for (int y = std::max(window.y, rows.lines().begin); y < rows.lines().end; ++y) {
    uint8_t* row = window.pixels + (y - window.y) * window.stride;
    const int count = rows.scan(y, runs);
    for (int r = 0; r < count; ++r) {
      const int begin = std::max(runs[r].begin - window.x, 0), end = runs[r].end - window.x;
      if (begin < end) std::memset(row + begin, 1, end - begin);
    }
  }
  return Status::kOk;
}

}  // namespace solo
