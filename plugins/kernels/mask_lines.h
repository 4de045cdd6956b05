// Rows and columns of one soft mask at frame size, as runs of inside pixels.
//
// Note [Scanning a line]
// A line (row or column) of the frame is found without visiting its pixels. Its samples A, B, ... on the grid are
// interpolated once, and compared with 127.5 * 2^11. Between two neighbours the value is linear in g, and g never falls
// from one pixel to the next (Note [Soft mask arithmetic]), so between
//     two samples above: every pixel is inside;   two samples not above: none is;
//     one of each: the line changes sides once, at the least g whose value is on the second one's side - a division -
//     and the least pixel whose position reaches that g - another.
// A line costs its samples plus two divisions per edge. The tests compare with the value of every pixel.
#pragma once

#include "grid_axis.h"
#include "soft_mask.h"

namespace solo {

// Pixels begin <= p < end of a line.
struct Run {
  int32_t begin, end;
};

constexpr int kMaxRuns = kMaxCells / 2 + 1;

class MaskLines {
 public:
  enum class Direction { kRows, kColumns };

  // The masks have passed check_masks and outlive the object.
  MaskLines(const SoftMasks& masks, int64_t index, FrameSize frame, Direction direction);

  // No other line holds a pixel.
  Run lines() const { return lines_; }
  // Most runs of one line, at most kMaxRuns.
  int max_runs() const { return samples_ / 2 + 1; }
  // Writes the runs of a line in order, no two touching, and returns their number.
  int scan(int line, Run* runs) const;

 private:
  const uint8_t* data_;
  Axis across_, along_;            // across counts lines, along the pixels of a line
  int first_line_, sample_lines_;  // region across, in cells
  int first_sample_, samples_;     // region along, in cells
  int64_t line_stride_, sample_stride_;
  int length_;  // pixels of a line
  Run lines_;
};

}  // namespace solo
