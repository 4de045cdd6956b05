#include "label_fill.h"

namespace solo {

Status fill_labels(const LabelMap& map, FrameSize frame, uint8_t* pixels, int64_t stride) {
  if (const Status status = check_labels(map, frame); status != Status::kOk) return status;
  const uint8_t* above = nullptr;  // cells of the row before
  for (int y = 0; y < frame.height; ++y) {
    uint8_t* row = pixels + y * stride;
    const uint8_t* cells = label_row(map, frame, y);
    if (map.width == frame.width) {
      std::memcpy(row, cells, frame.width);
    } else if (cells == above) {
      std::memcpy(row, row - stride, frame.width);
    } else {
      LabelRuns runs(cells, map.width, frame.width);
      for (int x = 0; x < frame.width; runs.advance()) {
        std::memset(row + x, runs.label(), runs.end() - x);
        x = runs.end();
      }
    }
    above = cells;
  }
  return Status::kOk;
}

}  // namespace solo
