// Soft masks to boxes, run-length codes and pixels.
#include "masks.h"

#include <algorithm>
#include <memory>

#include "mask_boxes.h"
#include "mask_fill.h"
#include "mask_refine.h"
#include "parallel.h"
#include "pictures.h"
#include "rle.h"

namespace solo::python {
namespace {

FrameSize make_frame(Size size) { return {size.first, size.second}; }

py::array_t<float> boxes_of(const py::array& data, const py::array& offsets, const py::array& regions, Size grid_size,
                            std::pair<double, double> step, Size frame_size, int threads) {
  const SoftMasks masks = make_masks(data, offsets, regions, grid_size, step);
  py::array_t<float> boxes({masks.count, int64_t{4}});
  float* out = boxes.mutable_data();
  run("mask_boxes", [&] { return mask_boxes(masks, make_frame(frame_size), threads, out); });
  return boxes;
}

std::vector<std::string> encode(const py::array& data, const py::array& offsets, const py::array& regions,
                                Size grid_size, std::pair<double, double> step, Size frame_size, int threads) {
  const SoftMasks masks = make_masks(data, offsets, regions, grid_size, step);
  const FrameSize frame = make_frame(frame_size);
  std::vector<std::string> texts(masks.count);
  run("encode_masks", [&] {
    Status status = check_masks(masks, frame);
    int64_t capacity = 0;
    for (int64_t i = 0; status == Status::kOk && i < masks.count; ++i) {
      capacity = std::max(capacity, encoded_capacity(masks, i, frame));
    }
    if (threads < 1) status = Status::kBadArgument;
    if (status != Status::kOk) return status;
    // Room for the worst text, of which only what is written becomes memory; new char[] does not touch it.
    const int used = threads_for_masks(masks.count, threads);
    const std::unique_ptr<char[]> room(new char[used * capacity]);
    std::vector<Status> statuses(masks.count, Status::kOk);
    parallel_for(used, masks.count, [&](int thread, int64_t i) {
      char* text = room.get() + thread * capacity;
      int64_t length = 0;
      statuses[i] = encode_mask(masks, i, frame, text, capacity, &length);
      if (statuses[i] == Status::kOk) texts[i].assign(text, length);
    });
    for (const Status one : statuses) status = one == Status::kOk ? status : one;
    return status;
  });
  return texts;
}

void fill(const py::array& data, const py::array& offsets, const py::array& regions, Size grid_size,
          std::pair<double, double> step, int64_t index, py::array out, Size origin) {
  const SoftMasks masks = make_masks(data, offsets, regions, grid_size, step);
  auto* pixels = writable<uint8_t>(out, "out", {kAny, kAny}, Layout::kPaddedRows);
  const Window window{pixels,
                      out.strides(0),
                      origin.second,
                      origin.first,
                      static_cast<int>(std::min<py::ssize_t>(out.shape(0), kMaxSide + 1)),
                      static_cast<int>(std::min<py::ssize_t>(out.shape(1), kMaxSide + 1))};
  run("fill_mask", [&] { return fill_mask(masks, index, window); });
}

py::tuple refined(std::vector<py::array> planes, const py::array& data, const py::array& offsets,
                  const py::array& regions, Size grid_size, std::pair<double, double> step) {
  const ConstPicture picture = make_picture<const uint8_t>(planes);
  const SoftMasks masks = make_masks(data, offsets, regions, grid_size, step);
  py::array_t<int32_t> new_regions({masks.count, int64_t{4}});
  py::array_t<int64_t> new_offsets(masks.count + 1);
  int32_t* places = new_regions.mutable_data();
  int64_t* ends = new_offsets.mutable_data();
  check(refined_regions(masks, {picture.height, picture.width}, places, ends), "refine_masks");
  py::array_t<uint8_t> new_data(ends[masks.count]);
  uint8_t* out = new_data.mutable_data();
  run("refine_masks", [&] { return refine_masks(picture, masks, places, ends, out); });
  return py::make_tuple(new_data, new_offsets, new_regions);
}

}  // namespace

void bind_masks(py::module_& m) {
  using namespace py::literals;
  m.def("mask_boxes", &boxes_of, "data"_a, "offsets"_a, "regions"_a, "grid_size"_a, "step"_a, "frame_size"_a,
        "threads"_a = 1,
        "Return the tight boxes of the masks at frame size: float32 [N, 4] xyxy, half-open; zeros for an empty mask.");
  m.def("encode_masks", &encode, "data"_a, "offsets"_a, "regions"_a, "grid_size"_a, "step"_a, "frame_size"_a,
        "threads"_a = 1,
        "Return the masks at frame size as COCO compressed run-length codes (the `counts`), in order.");
  m.def("fill_mask", &fill, "data"_a, "offsets"_a, "regions"_a, "grid_size"_a, "step"_a, "index"_a, "out"_a,
        "origin"_a = Size{0, 0},
        "Set the pixels of one mask to 1 in `out`: uint8 [h, w], the frame's pixels from `origin` (y, x) on.");
  m.def(
      "refine_masks", &refined, "planes"_a, "data"_a, "offsets"_a, "regions"_a, "grid_size"_a, "step"_a,
      "Return data, offsets and regions of the masks on a grid of 2 x 2 pixels, their outlines drawn to the picture's "
      "edges.");
}

}  // namespace solo::python
