// Frames as they come from Python; used by every binding that takes them.
#pragma once

#include <type_traits>

#include "arrays.h"
#include "frame_size.h"
#include "picture.h"

namespace solo::python {

// Borrows the planes, which the caller keeps alive: one makes an RGB picture, three make I420. Read-only ones will do
// where Byte is const. Raises TypeError or ValueError naming the plane that does not fit.
template <typename Byte>
PictureOf<Byte> make_picture(std::vector<py::array>& planes) {
  if (planes.size() != 1 && planes.size() != 3) {
    throw py::value_error("planes: expected (rgb,) or (y, u, v), got " + std::to_string(planes.size()) + " planes");
  }
  PictureOf<Byte> picture{};
  picture.yuv420 = planes.size() == 3;
  const auto add = [&](int i, const char* name, const std::vector<py::ssize_t>& shape) {
    if constexpr (std::is_const_v<Byte>) {
      picture.planes[i] = checked<uint8_t>(planes[i], name, shape, Layout::kPaddedRows);
    } else {
      picture.planes[i] = writable<uint8_t>(planes[i], name, shape, Layout::kPaddedRows);
    }
    picture.strides[i] = planes[i].strides(0);
  };
  if (picture.yuv420) {
    add(0, "y plane", {kAny, kAny});
    const py::ssize_t height = (planes[0].shape(0) + 1) / 2, width = (planes[0].shape(1) + 1) / 2;
    add(1, "u plane", {height, width});
    add(2, "v plane", {height, width});
  } else {
    add(0, "rgb plane", {kAny, kAny, 3});
  }
  if (planes[0].shape(0) > kMaxSide || planes[0].shape(1) > kMaxSide) {
    throw py::value_error("planes: expected at most 65535 rows and columns; scale the picture down first");
  }
  picture.height = static_cast<int>(planes[0].shape(0));
  picture.width = static_cast<int>(planes[0].shape(1));
  return picture;
}

}  // namespace solo::python
