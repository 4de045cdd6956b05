// What tracking asks: how much masks overlap, and what belongs together.
#include "assignment.h"
#include "mask_overlap.h"
#include "masks.h"

namespace solo::python {
namespace {

py::array_t<float> overlap_of(const py::array& data, const py::array& offsets, const py::array& regions,
                              const py::array& shifts, const py::array& other_data, const py::array& other_offsets,
                              const py::array& other_regions, Size grid_size) {
  const SoftMasks first = make_masks(data, offsets, regions, grid_size, {1.0, 1.0});
  const SoftMasks second = make_masks(other_data, other_offsets, other_regions, grid_size, {1.0, 1.0});
  const auto* moved = checked<int32_t>(shifts, "shifts", {first.count, 2});
  py::array_t<float> ious({first.count, second.count});
  float* out = ious.mutable_data();
  run("mask_overlap", [&] { return mask_overlap(first, moved, second, out); });
  return ious;
}

py::array_t<int32_t> assign_best(const py::array& profits) {
  const auto* values = checked<double>(profits, "profits", {kAny, kAny});
  const int64_t rows = profits.shape(0), columns = profits.shape(1);
  py::array_t<int32_t> column_of(rows);
  int32_t* out = column_of.mutable_data();
  run("assign", [&] { return assign(values, rows, columns, out); });
  return column_of;
}

}  // namespace

void bind_tracks(py::module_& m) {
  using namespace py::literals;
  m.def("mask_overlap", &overlap_of, "data"_a, "offsets"_a, "regions"_a, "shifts"_a, "other_data"_a, "other_offsets"_a,
        "other_regions"_a, "grid_size"_a,
        "Return the intersection over union of every mask, moved by its shift (x, y) in cells, with every other one on "
        "a grid of the same size: float32 [N, M].");
  m.def(
      "assign", &assign_best, "profits"_a,
      "Return the column of each row, int32 [N], -1 for none: the pairs of which the sum of profits float64 [N, M] is "
      "largest, without those of 0.");
}

}  // namespace solo::python
