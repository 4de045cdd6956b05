// solov2_decode and matrix_nms as Python functions on numpy arrays.
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "matrix_nms.h"
#include "solov2.h"

namespace solo::python {
namespace {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names{"plain"};
  if (has_isa(Isa::kAvx2)) names.emplace_back("avx2");
  if (has_isa(Isa::kAvx512)) names.emplace_back("avx512");
  return names;
}

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values, std::vector<py::ssize_t> shape) {
  return py::array_t<T>(std::move(shape), values.data());
}

py::tuple decode(const py::array& scores, const py::array& kernels, const py::array& features,
                 const py::array& cell_strides, float score_threshold, double mask_threshold, int64_t nms_pre,
                 bool linear, float sigma, float update_threshold, int64_t max_instances, int threads,
                 const std::string& instruction_set) {
  Solov2Tensors tensors{};
  tensors.scores = checked<float>(scores, "scores", {kAny, kAny});
  tensors.cells = scores.shape(0);
  tensors.classes = scores.shape(1);
  tensors.kernels = checked<float>(kernels, "kernels", {tensors.cells, kAny});
  tensors.channels = kernels.shape(1);
  tensors.features = checked<float>(features, "features", {tensors.channels, kAny, kAny});
  tensors.height = features.shape(1);
  tensors.width = features.shape(2);
  tensors.cell_strides = checked<int32_t>(cell_strides, "cell_strides", {tensors.cells});
  const Solov2Options options{score_threshold, mask_threshold, nms_pre,
                              linear,          sigma,          update_threshold,
                              max_instances,   threads,        isa_of(instruction_set)};
  Solov2Instances found;
  run("solov2_decode", [&] { return solov2_decode(tensors, options, &found); });
  const auto n = static_cast<py::ssize_t>(found.scores.size());
  return py::make_tuple(to_array(found.scores, {n}), to_array(found.class_ids, {n}), to_array(found.cells, {n}),
                        to_array(found.regions, {n, 4}), to_array(found.offsets, {n + 1}),
                        to_array(found.data, {static_cast<py::ssize_t>(found.data.size())}));
}

py::array_t<float> decay_scores(const py::array& bits, const py::array& areas, const py::array& scores,
                                const py::array& class_ids, bool linear, float sigma,
                                const std::string& instruction_set) {
  RankedMasks masks{};
  masks.bits = checked<uint64_t>(bits, "bits", {kAny, kAny});
  masks.count = bits.shape(0);
  masks.words = bits.shape(1);
  masks.areas = checked<int32_t>(areas, "areas", {masks.count});
  masks.scores = checked<float>(scores, "scores", {masks.count});
  masks.class_ids = checked<int32_t>(class_ids, "class_ids", {masks.count});
  for (int64_t i = 1; i < masks.count; ++i) {
    if (!(masks.scores[i] <= masks.scores[i - 1])) {
      throw py::value_error("scores: expected descending, got " + std::to_string(masks.scores[i - 1]) + " before " +
                            std::to_string(masks.scores[i]) + " at " + std::to_string(i) + "; sort first");
    }
  }
  std::vector<int32_t> rows(static_cast<size_t>(masks.count));
  std::iota(rows.begin(), rows.end(), 0);
  masks.rows = rows.data();
  const Isa isa = isa_of(instruction_set);
  py::array_t<float> decayed(masks.count);
  float* out = decayed.mutable_data();
  run("matrix_nms", matrix_nms_workspace(masks.count),
      [&](void* workspace, int64_t bytes) { return matrix_nms(masks, linear, sigma, isa, workspace, bytes, out); });
  return decayed;
}

}  // namespace

void bind_decode(py::module_& m) {
  m.def("instruction_sets", &instruction_sets, "Names of the CPU variants of the kernels that this machine can run.");
  m.def("solov2_decode", &decode, py::arg("scores"), py::arg("kernels"), py::arg("features"), py::arg("cell_strides"),
        py::arg("score_threshold"), py::arg("mask_threshold"), py::arg("nms_pre"), py::arg("linear"), py::arg("sigma"),
        py::arg("update_threshold"), py::arg("max_instances"), py::arg("threads"), py::arg("instruction_set") = "best",
        "Scores, class ids, cells, regions, offsets and soft masks of the instances of one picture, see solov2.h.");
  m.def("matrix_nms", &decay_scores, py::arg("bits"), py::arg("areas"), py::arg("scores"), py::arg("class_ids"),
        py::arg("linear"), py::arg("sigma"), py::arg("instruction_set") = "best",
        "Decayed scores, float32 [n], of bit masks in descending order of score, see matrix_nms.h.");
}

}  // namespace solo::python
