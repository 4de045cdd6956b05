#include <algorithm>

#include "mask_boxes.h"
#include "mask_lines.h"
#include "parallel.h"

namespace solo {

Status mask_boxes(const SoftMasks& masks, FrameSize frame, int threads, float* boxes) {
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  if (threads < 1) return Status::kBadArgument;
  parallel_for(threads_for_masks(masks.count, threads), masks.count, [&](int, int64_t i) {
    Run runs[kMaxRuns];
    const MaskLines rows(masks, i, frame, MaskLines::Direction::kRows);
    int left = frame.width, top = -1, right = 0, bottom = 0;
    for (int y = rows.lines().begin; y < rows.lines().end; ++y) {
      const int count = rows.scan(y, runs);
      if (count == 0) continue;
      left = std::min(left, runs[0].begin);
      right = std::max(right, runs[count - 1].end);
      if (top < 0) top = y;
      bottom = y + 1;
    }
    if (top < 0) left = top = 0;
    const int box[4] = {left, top, right, bottom};
    std::copy(box, box + 4, boxes + 4 * i);
  });
  return Status::kOk;
}

}  // namespace solo
