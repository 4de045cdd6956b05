// solov2_decode and matrix_nms as Python functions on numpy arrays.
#include <cstdint>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "dynamic_conv.h"
#include "instruction_set.h"
#include "matrix_nms.h"
#include "module.h"
#include "solov2.h"

namespace solo::python {
namespace {

constexpr py::ssize_t kAny = -1;  // an axis whose length this array decides

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::ostringstream text;
  text << '[';
  for (size_t i = 0; i < shape.size(); ++i) text << (i == 0 ? "" : ", ") << shape[i];
  text << ']';
  return text.str();
}

// Returns the elements of an array that is contiguous, of type T and of the shape. Raises ValueError naming what was
// expected and what came; `axes` names the shape for the reader, as "[cells, classes]".
template <typename T>
const T* elements(const py::array& array, const char* name, const char* axes, const std::vector<py::ssize_t>& shape) {
  const std::vector<py::ssize_t> got(array.shape(), array.shape() + array.ndim());
  bool fits =
      got.size() == shape.size() && py::isinstance<py::array_t<T>>(array) && (array.flags() & py::array::c_style) != 0;
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == kAny || shape[i] == got[i];
  if (!fits) {
    std::ostringstream text;
    text << name << ": expected contiguous " << py::str(py::dtype::of<T>()).cast<std::string>() << ' ' << axes;
    for (size_t i = 0; i < shape.size(); ++i)
      text << (i == 0 ? " = [" : ", ") << (shape[i] == kAny ? "any" : std::to_string(shape[i]));
    text << "], got " << py::str(array.dtype()).cast<std::string>() << ' ' << shape_text(got);
    if ((array.flags() & py::array::c_style) == 0) text << ", not contiguous";
    throw py::value_error(text.str());
  }
  return static_cast<const T*>(array.data());
}

Isa isa_of(const std::string& name) {
  const Isa isa = name == "best"    ? best_isa()
                  : name == "plain" ? Isa::kPlain
                  : name == "avx2"  ? Isa::kAvx2
                  : name == "avx512"
                      ? Isa::kAvx512
                      : throw py::value_error("instruction_set: expected best, plain, avx2 or avx512, got " + name);
  if (!has_isa(isa)) throw py::value_error("instruction_set: this CPU has no " + name);
  return isa;
}

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
  tensors.scores = elements<float>(scores, "scores", "[cells, classes]", {kAny, kAny});
  tensors.cells = scores.shape(0);
  tensors.classes = scores.shape(1);
  tensors.kernels = elements<float>(kernels, "kernels", "[cells, channels]", {tensors.cells, kAny});
  tensors.channels = kernels.shape(1);
  tensors.features = elements<float>(features, "features", "[channels, height, width]", {tensors.channels, kAny, kAny});
  tensors.height = features.shape(1);
  tensors.width = features.shape(2);
  tensors.cell_strides = elements<int32_t>(cell_strides, "cell_strides", "[cells]", {tensors.cells});
  const Solov2Options options{score_threshold, mask_threshold, nms_pre,
                              linear,          sigma,          update_threshold,
                              max_instances,   threads,        isa_of(instruction_set)};
  Solov2Instances found;
  Status status;
  {
    const py::gil_scoped_release release;
    status = solov2_decode(tensors, options, &found);
  }
  check(status, "solov2_decode");
  const auto n = static_cast<py::ssize_t>(found.scores.size());
  return py::make_tuple(to_array(found.scores, {n}), to_array(found.class_ids, {n}), to_array(found.cells, {n}),
                        to_array(found.regions, {n, 4}), to_array(found.offsets, {n + 1}),
                        to_array(found.data, {static_cast<py::ssize_t>(found.data.size())}));
}

py::array_t<float> decay_scores(const py::array& bits, const py::array& areas, const py::array& scores,
                                const py::array& class_ids, bool linear, float sigma,
                                const std::string& instruction_set) {
  RankedMasks masks{};
  masks.bits = elements<uint64_t>(bits, "bits", "[n, words]", {kAny, kAny});
  masks.count = bits.shape(0);
  masks.words = bits.shape(1);
  masks.areas = elements<int32_t>(areas, "areas", "[n]", {masks.count});
  masks.scores = elements<float>(scores, "scores", "[n]", {masks.count});
  masks.class_ids = elements<int32_t>(class_ids, "class_ids", "[n]", {masks.count});
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
  std::vector<int32_t> workspace(static_cast<size_t>(matrix_nms_workspace(masks.count)) / sizeof(int32_t));
  const int64_t bytes = matrix_nms_workspace(masks.count);
  py::array_t<float> decayed(masks.count);
  float* out = decayed.mutable_data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = matrix_nms(masks, linear, sigma, isa, workspace.data(), bytes, out);
  }
  check(status, "matrix_nms");
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
