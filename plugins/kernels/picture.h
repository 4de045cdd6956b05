// Pixels of a frame: one interleaved RGB plane, or the planes of I420.
#pragma once

#include <cstdint>

namespace solo {

// planes: RGB uint8 [height, width, 3] alone, or Y [height, width], U and V [ceil(height / 2), ceil(width / 2)].
// Rows may be padded, or stored from the bottom up: a stride is the bytes from one row to the next.
template <typename Byte>
struct PictureOf {
  Byte* planes[3];
  int64_t strides[3];
  int height, width;
  bool yuv420;  // else RGB
};

using Picture = PictureOf<uint8_t>;
using ConstPicture = PictureOf<const uint8_t>;

}  // namespace solo
