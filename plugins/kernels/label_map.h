// The class of every pixel of a frame, as every label kernel takes it.
//
// Note [Label arithmetic]
// Labels lie on a grid that covers the frame, of any size. Frame pixel p of an axis with n pixels and m cells has the
// label of the cell that holds its centre, floor((2 p + 1) m / (2 n)), so the first pixel of cell c is
// ceil((2 n c - m) / (2 m)), which is also the first one of cell c + 1 where cells are smaller than pixels. All in
// integers: every kernel gives the same pixels. Neighbours mostly have the same label, and a kernel that takes the
// cells of a row in runs of equal ones has little to do per pixel.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "frame_size.h"
#include "status.h"

namespace solo {

constexpr int kLabels = 256;

// Pointers are borrowed for the duration of a call.
struct LabelMap {
  const uint8_t* labels;  // [height, width], 1..kMaxSide each
  int64_t stride;         // bytes from one row to the next
  int height, width;
};

// kBadSize where the map or the frame is empty or too large. Every label kernel checks this first.
inline Status check_labels(const LabelMap& map, FrameSize frame) {
  for (const int side : {map.height, map.width, frame.height, frame.width}) {
    if (side < 1 || side > kMaxSide) return Status::kBadSize;
  }
  return Status::kOk;
}

// First pixel of a cell; the number of pixels for the cell after the last.
inline int first_pixel(int cell, int cells, int pixels) {
  return static_cast<int>((int64_t{2} * pixels * cell + cells - 1) / (int64_t{2} * cells));
}

inline const uint8_t* label_row(const LabelMap& map, FrameSize frame, int y) {
  return map.labels + (int64_t{2} * y + 1) * map.height / (int64_t{2} * frame.height) * map.stride;
}

// Walks along a row of cells, from one stretch of pixels with the same label to the next.
class LabelRuns {
 public:
  LabelRuns(const uint8_t* cells, int cell_count, int pixel_count)
      : cells_(cells), cell_count_(cell_count), pixel_count_(pixel_count) {
    advance();
  }

  uint8_t label() const { return label_; }
  int end() const { return end_; }  // one behind the last pixel of the stretch

  // To the stretch that begins at end(), unless that is the end of the row.
  void advance() {
    const int begin = end_;
    while (end_ == begin && cell_ < cell_count_) {  // cells between two pixel centres make stretches of no pixel
      label_ = cells_[cell_];
      cell_ = skip_equal(cell_ + 1);
      end_ = cell_count_ == pixel_count_ ? cell_ : first_pixel(cell_, cell_count_, pixel_count_);
    }
  }

 private:
  int skip_equal(int cell) const {
    const uint64_t equal = label_ * UINT64_C(0x0101010101010101);
    for (uint64_t word; cell + 8 <= cell_count_; cell += 8) {
      std::memcpy(&word, cells_ + cell, 8);
      // The lowest byte is the first cell: both architectures we build for are little-endian.
      if (word != equal) return cell + __builtin_ctzll(word ^ equal) / 8;
    }
    while (cell < cell_count_ && cells_[cell] == label_) ++cell;
    return cell;
  }

  const uint8_t* cells_;
  int cell_count_, pixel_count_;
  int cell_ = 0, end_ = 0;
  uint8_t label_ = 0;
};

}  // namespace solo
