// Logits to labels, and label maps to pixels, counts and overlay.
#include <algorithm>

#include "argmax.h"
#include "enlarged_argmax.h"
#include "label_counts.h"
#include "label_fill.h"
#include "label_overlay.h"
#include "pictures.h"

namespace solo::python {
namespace {

// Borrows the array, which the caller keeps alive.
LabelMap make_labels(const py::array& labels) {
  LabelMap map{};
  map.labels = checked<uint8_t>(labels, "labels", {kAny, kAny}, Layout::kPaddedRows);
  map.stride = labels.strides(0);
  map.height = static_cast<int>(std::min<py::ssize_t>(labels.shape(0), kMaxSide + 1));
  map.width = static_cast<int>(std::min<py::ssize_t>(labels.shape(1), kMaxSide + 1));
  return map;
}

py::array_t<uint8_t> largest(const py::array& logits, Size size, int threads) {
  Logits source{};
  source.values = checked<float>(logits, "logits", {kAny, kAny, kAny});
  source.channels = static_cast<int>(logits.shape(0));
  source.height = static_cast<int>(logits.shape(1));
  source.width = static_cast<int>(logits.shape(2));
  py::array_t<uint8_t> labels({std::max(size.first, 0), std::max(size.second, 0)});
  uint8_t* out = labels.mutable_data();
  run("argmax", [&] { return argmax(source, size.first, size.second, threads, out); });
  return labels;
}

py::array_t<uint8_t> largest_enlarged(const py::array& logits, Size full_size, bool corners, Size size, int threads) {
  CoarseLogits source{};
  source.values = checked<float>(logits, "logits", {kAny, kAny, kAny});
  source.height = static_cast<int>(logits.shape(0));
  source.width = static_cast<int>(logits.shape(1));
  source.channels = static_cast<int>(logits.shape(2));
  py::array_t<uint8_t> labels({std::max(size.first, 0), std::max(size.second, 0)});
  uint8_t* out = labels.mutable_data();
  run("enlarged_argmax", enlarged_argmax_workspace(source, std::max(size.second, 0)),
      [&](void* workspace, int64_t bytes) {
        return enlarged_argmax(source, {full_size.first, full_size.second}, corners, size.first, size.second, threads,
                               workspace, bytes, out);
      });
  return labels;
}

py::array_t<uint8_t> fill(const py::array& labels, Size frame_size) {
  const LabelMap map = make_labels(labels);
  const FrameSize frame{frame_size.first, frame_size.second};
  check(check_labels(map, frame), "fill_labels");
  py::array_t<uint8_t> pixels({frame.height, frame.width});
  uint8_t* out = pixels.mutable_data();
  run("fill_labels", [&] { return fill_labels(map, frame, out, frame.width); });
  return pixels;
}

py::array_t<int64_t> count(const py::array& labels, Size frame_size) {
  const LabelMap map = make_labels(labels);
  py::array_t<int64_t> counts(kLabels);
  int64_t* out = counts.mutable_data();
  run("count_labels", [&] { return count_labels(map, {frame_size.first, frame_size.second}, out); });
  return counts;
}

void paint(std::vector<py::array> planes, const py::array& labels, const py::array& colours, const py::array& alphas,
           std::vector<py::array> out, int threads) {
  const ConstPicture from = make_picture<const uint8_t>(planes);
  const Picture to = make_picture<uint8_t>(out);
  for (const py::array& plane : planes) {
    for (const py::array& target : out) {
      if (share_memory(plane, target)) {
        throw py::value_error("out: expected memory of its own, got that of planes; allocate other planes");
      }
    }
  }
  const LabelMap map = make_labels(labels);
  const LabelStyle style{checked<uint8_t>(colours, "colours", {kLabels, 3}),
                         checked<uint16_t>(alphas, "alphas", {kLabels})};
  run("overlay_labels", [&] { return overlay_labels(from, map, style, threads, to); });
}

}  // namespace

void bind_labels(py::module_& m) {
  using namespace py::literals;
  m.def("argmax", &largest, "logits"_a, "size"_a, "threads"_a = 1,
        "Return the channel with the largest logit, uint8 [h, w], of the top-left h, w = `size` of float32 [C, H, W].");
  m.def("enlarged_argmax", &largest_enlarged, "logits"_a, "full_size"_a, "corners"_a, "size"_a, "threads"_a = 1,
        "Return the channel with the largest logit, uint8 [h, w], of the top-left h, w = `size` of float32 [h', w', C] "
        "enlarged bilinearly to `full_size`, with aligned corners or half-pixel centres.");
  m.def("fill_labels", &fill, "labels"_a, "frame_size"_a,
        "Return labels uint8 [h, w] at frame size, each pixel that of the cell below its centre: uint8 [H, W].");
  m.def("count_labels", &count, "labels"_a, "frame_size"_a,
        "Return how many pixels of the frame have each label: int64 [256].");
  m.def("overlay_labels", &paint, "planes"_a, "labels"_a, "colours"_a, "alphas"_a, "out"_a, "threads"_a = 1,
        "Write the planes with the labels' colours, uint8 [256, 3] RGB or YUV, blended in to the planes `out`; "
        "alphas are uint16 [256], 0..256.");
}

}  // namespace solo::python
