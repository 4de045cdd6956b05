// Maps of networks as Python functions on numpy arrays: their layout, and those of SOLO and Decoupled SOLO to masks.
#include <algorithm>
#include <optional>
#include <string>

#include "arrays.h"
#include "channels_first.h"
#include "dynamic_conv.h"
#include "mask_regions.h"
#include "soft_maps.h"

namespace solo::python {
namespace {

void require_rows(const int32_t* rows, int64_t count, int64_t limit, const char* name) {
  if (count > 0 && (*std::min_element(rows, rows + count) < 0 || *std::max_element(rows, rows + count) >= limit)) {
    throw py::value_error(std::string(name) + ": expected rows in 0.." + std::to_string(limit - 1));
  }
}

py::array_t<float> to_planes(const py::array& maps) {
  const auto* values = checked<float>(maps, "maps", {kAny, kAny, kAny, kAny});
  const int64_t count = maps.shape(0), pixels = int64_t{maps.shape(1)} * maps.shape(2), channels = maps.shape(3);
  py::array_t<float> planes({maps.shape(0), maps.shape(3), maps.shape(1), maps.shape(2)});
  float* out = planes.mutable_data();
  run("channels_first", [&] {
    Status status = Status::kOk;
    for (int64_t i = 0; i < count && status == Status::kOk; ++i) {
      status = channels_first(values + i * pixels * channels, pixels, channels, out + i * pixels * channels);
    }
    return status;
  });
  return planes;
}

py::array_t<float> enlarge(const py::array& maps, const py::array& rows, Size between, Size grid, int threads) {
  LogitMaps source{};
  source.maps = checked<float>(maps, "maps", {kAny, kAny, kAny});
  source.rows = checked<int32_t>(rows, "rows", {kAny});
  source.count = rows.shape(0);
  source.size = {maps.shape(1), maps.shape(2)};
  require_rows(source.rows, source.count, maps.shape(0), "rows");
  const PlaneSize middle{between.first, between.second};
  const PlaneSize target{grid.first, grid.second};
  py::array_t<float> soft({source.count, std::max<int64_t>(target.height, 0), std::max<int64_t>(target.width, 0)});
  float* out = soft.mutable_data();
  run("enlarge_maps", enlarge_maps_workspace(source, middle, target, threads), [&](void* workspace, int64_t bytes) {
    return enlarge_maps(source, middle, target, threads, workspace, bytes, out);
  });
  return soft;
}

// Borrows the arrays, which the caller keeps alive.
SoftProducts make_products(const py::array& soft, const py::array& first, const std::optional<py::array>& second) {
  SoftProducts masks{};
  masks.soft = checked<float>(soft, "soft", {kAny, kAny, kAny});
  masks.size = {soft.shape(1), soft.shape(2)};
  masks.first = checked<int32_t>(first, "first", {kAny});
  masks.count = first.shape(0);
  require_rows(masks.first, masks.count, soft.shape(0), "first");
  if (second) {
    masks.second = checked<int32_t>(*second, "second", {first.shape(0)});
    require_rows(masks.second, masks.count, soft.shape(0), "second");
  }
  return masks;
}

py::tuple binarise(const py::array& soft, const py::array& first, const std::optional<py::array>& second,
                   float threshold, int threads) {
  const SoftProducts masks = make_products(soft, first, second);
  py::array_t<uint64_t> bits({masks.count, mask_words(masks.size.height, masks.size.width)});
  py::array_t<int32_t> areas(masks.count);
  py::array_t<float> soft_sums(masks.count);
  uint64_t* words = bits.mutable_data();
  int32_t* counts = areas.mutable_data();
  float* sums = soft_sums.mutable_data();
  run("binarise_products", [&] { return binarise_products(masks, threshold, threads, words, counts, sums); });
  return py::make_tuple(bits, areas, soft_sums);
}

py::array_t<uint8_t> crop(const py::array& soft, const py::array& first, const std::optional<py::array>& second,
                          float threshold, const py::array& regions, const py::array& offsets, int threads) {
  const SoftProducts masks = make_products(soft, first, second);
  const auto* boxes = checked<int32_t>(regions, "regions", {masks.count, 4});
  const auto* starts = checked<int64_t>(offsets, "offsets", {masks.count + 1});
  if (starts[0] != 0 || starts[masks.count] < 0) throw py::value_error("offsets: expected them to start at 0");
  py::array_t<uint8_t> data(starts[masks.count]);
  uint8_t* out = data.mutable_data();
  run("crop_products", [&] { return crop_products(masks, threshold, threads, boxes, starts, out); });
  return data;
}

py::array_t<int32_t> regions_of(const py::array& bits, const py::array& rows, Size grid) {
  const auto* words = checked<uint64_t>(bits, "bits", {kAny, mask_words(grid.first, grid.second)});
  const auto* which = checked<int32_t>(rows, "rows", {kAny});
  require_rows(which, rows.shape(0), bits.shape(0), "rows");
  py::array_t<int32_t> regions({rows.shape(0), py::ssize_t{4}});
  const int64_t count = rows.shape(0);
  int32_t* out = regions.mutable_data();
  run("mask_regions", [&] { return mask_regions(words, which, count, grid.first, grid.second, out); });
  return regions;
}

}  // namespace

void bind_maps(py::module_& m) {
  m.def("channels_first", &to_planes, py::arg("maps"), "Maps, float32 [n, h, w, c], as [n, c, h, w].");
  m.def("enlarge_maps", &enlarge, py::arg("maps"), py::arg("rows"), py::arg("between"), py::arg("grid"),
        py::arg("threads") = 1, "Probabilities, float32 [n, *grid], of logit maps [any, h, w], see soft_maps.h.");
  m.def("binarise_products", &binarise, py::arg("soft"), py::arg("first"), py::arg("second"), py::arg("threshold"),
        py::arg("threads") = 1, "Bits, areas and sums of products of probability maps, see soft_maps.h.");
  m.def("crop_products", &crop, py::arg("soft"), py::arg("first"), py::arg("second"), py::arg("threshold"),
        py::arg("regions"), py::arg("offsets"), py::arg("threads") = 1,
        "The bytes, uint8, of soft masks inside their regions, see soft_maps.h.");
  m.def("mask_regions", &regions_of, py::arg("bits"), py::arg("rows"), py::arg("grid"),
        "Regions, int32 [n, 4], of bit masks, see mask_regions.h.");
}

}  // namespace solo::python
