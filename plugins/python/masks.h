// Soft masks as they come from Python; used by every binding that takes them.
#pragma once

#include <utility>

#include "arrays.h"
#include "soft_mask.h"

namespace solo::python {

// Borrows the arrays, which the caller keeps alive. Raises TypeError or ValueError naming the array that does not fit.
inline SoftMasks make_masks(const py::array& data, const py::array& offsets, const py::array& regions, Size grid_size,
                            std::pair<double, double> step) {
  SoftMasks masks{};
  masks.regions = checked<int32_t>(regions, "regions", {kAny, 4});
  masks.count = regions.shape(0);
  masks.offsets = checked<int64_t>(offsets, "offsets", {masks.count + 1});
  masks.data = checked<uint8_t>(data, "data", {kAny});
  masks.data_size = data.size();
  masks.grid_height = grid_size.first;
  masks.grid_width = grid_size.second;
  masks.step_y = step.first;
  masks.step_x = step.second;
  return masks;
}

}  // namespace solo::python
