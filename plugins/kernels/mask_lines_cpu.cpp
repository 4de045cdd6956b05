#include <algorithm>

#include "mask_lines.h"

namespace solo {
namespace {

constexpr int32_t kThreshold = 255 << (Axis::kBits - 1);  // 127.5 as a line's sample

// Least fraction, 1..2048, between two samples on different sides of the threshold that is on the second one's side.
int32_t crossing(int32_t before, int32_t after) {
  if (after > before) return (kThreshold - before) * Axis::kOne / (after - before) + 1;
  const int32_t fall = before - after;
  return ((before - kThreshold) * Axis::kOne + fall - 1) / fall;
}

}  // namespace

MaskLines::MaskLines(const SoftMasks& masks, int64_t index, FrameSize frame, Direction direction)
    : data_(masks.data + masks.offsets[index]) {
  const int32_t* region = masks.regions + 4 * index;
  const Axis x = make_axis(masks.grid_width, masks.step_x), y = make_axis(masks.grid_height, masks.step_y);
  const int width = region[2] - region[0], height = region[3] - region[1];
  const bool rows = direction == Direction::kRows;
  across_ = rows ? y : x;
  along_ = rows ? x : y;
  first_line_ = region[rows ? 1 : 0];
  first_sample_ = region[rows ? 0 : 1];
  sample_lines_ = rows ? height : width;
  samples_ = rows ? width : height;
  line_stride_ = rows ? width : 1;
  sample_stride_ = rows ? 1 : width;
  length_ = rows ? frame.width : frame.height;

  const int count = rows ? frame.height : frame.width;
  const auto line_at = [&](int cell) {
    return static_cast<int32_t>(std::min<int64_t>(count, across_.first_pixel(int64_t{cell} * Axis::kOne)));
  };
  // Around its region the mask falls to zero within one cell, except at the end of the grid, which continues.
  const int end = first_line_ + sample_lines_;
  lines_ = {line_at(first_line_ - 1), end < across_.cells ? line_at(end) : count};
  if (width == 0 || height == 0) lines_ = {0, 0};
}

int MaskLines::scan(int line, Run* runs) const {
  const int32_t position = across_.position(line);
  const int near = (position >> Axis::kBits) - first_line_, far = near + 1;
  if (samples_ == 0 || far < 0 || near >= sample_lines_) return 0;
  // A sample line outside the region counts as zeros: weight 0, at an address that may be read.
  const int32_t fraction = position & (Axis::kOne - 1);
  const int32_t near_weight = near >= 0 ? Axis::kOne - fraction : 0;
  const int32_t far_weight = far < sample_lines_ ? fraction : 0;
  const uint8_t* near_line = data_ + std::max(near, 0) * line_stride_;
  const uint8_t* far_line = data_ + std::min(far, sample_lines_ - 1) * line_stride_;
  const auto sample = [&](int k) -> int32_t {
    if (k == samples_) return 0;  // the first one after the region
    return near_weight * near_line[k * sample_stride_] + far_weight * far_line[k * sample_stride_];
  };

  int count = 0;
  int32_t begin = 0;
  const auto close = [&](int32_t end) {
    if (begin == end) return;  // an inside sample that no pixel is near
    if (count > 0 && runs[count - 1].end == begin) {
      runs[count - 1].end = end;
    } else {
      runs[count++] = {begin, end};
    }
  };
  const bool at_start = first_sample_ == 0, at_end = first_sample_ + samples_ == along_.cells;
  const int last = at_end ? samples_ - 1 : samples_;
  int32_t before = at_start ? sample(0) : 0;
  bool inside = before > kThreshold;
  for (int k = at_start ? 1 : 0; k <= last; ++k) {
    const int32_t after = sample(k);
    if ((after > kThreshold) != inside) {
      const int64_t cell = first_sample_ + k - 1;
      const int64_t pixel = along_.first_pixel(cell * Axis::kOne + crossing(before, after));
      const auto edge = static_cast<int32_t>(std::min<int64_t>(length_, pixel));
      if (inside) {
        close(edge);
      } else {
        begin = edge;
      }
      inside = !inside;
    }
    before = after;
  }
  if (inside) close(length_);
  return count;
}

}  // namespace solo
