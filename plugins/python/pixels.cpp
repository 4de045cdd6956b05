// Letterbox, colour conversion and overlay.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <utility>

#include "letterbox.h"
#include "masks.h"
#include "overlay.h"
#include "pictures.h"
#include "yuv420.h"

namespace solo::python {
namespace {

using Triple = std::array<float, 3>;

void fill_tensor(std::vector<py::array> planes, bool bt709, bool full_range, Size resized, Triple mean, Triple std,
                 py::array out) {
  const ConstPicture picture = make_picture<const uint8_t>(planes);
  LetterboxTarget target{};
  target.tensor = writable<float>(out, "out", {3, kAny, kAny});
  target.height = static_cast<int>(out.shape(1));
  target.width = static_cast<int>(out.shape(2));
  target.resized_height = resized.first;
  target.resized_width = resized.second;
  std::copy(mean.begin(), mean.end(), target.mean);
  std::copy(std.begin(), std.end(), target.std);
  run("letterbox", [&] { return letterbox(picture, {bt709, full_range}, target); });
}

py::array_t<uint8_t> to_rgb(py::array y, py::array u, py::array v, bool bt709, bool full_range) {
  std::vector<py::array> planes{std::move(y), std::move(u), std::move(v)};
  const ConstPicture picture = make_picture<const uint8_t>(planes);
  py::array_t<uint8_t> rgb({picture.height, picture.width, 3});
  uint8_t* out = rgb.mutable_data();
  run("yuv420_to_rgb", [&] { return yuv420_to_rgb(picture, {bt709, full_range}, out, int64_t{3} * picture.width); });
  return rgb;
}

void paint(std::vector<py::array> planes, const py::array& data, const py::array& offsets, const py::array& regions,
           Size grid_size, std::pair<double, double> step, const py::array& colours, double alpha, int outline) {
  const Picture picture = make_picture<uint8_t>(planes);
  const SoftMasks masks = make_masks(data, offsets, regions, grid_size, step);
  const FrameSize frame{picture.height, picture.width};
  if (!(alpha >= 0 && alpha <= 1)) throw py::value_error("alpha: expected 0..1, got " + std::to_string(alpha));
  if (outline < 0 || outline > kMaxOutline) {
    throw py::value_error("outline: expected 0.." + std::to_string(kMaxOutline) + " pixels, got " +
                          std::to_string(outline));
  }
  const OverlayStyle style{checked<uint8_t>(colours, "colours", {masks.count, 3}),
                           static_cast<int>(std::lround(alpha * 256)), outline};
  run("overlay", [&] {
    if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
    const int64_t bytes = overlay_workspace(masks, frame, outline);
    const std::unique_ptr<char[]> workspace(new char[bytes]);  // untouched parts never become memory
    return overlay(picture, masks, style, workspace.get(), bytes);
  });
}

}  // namespace

void bind_pixels(py::module_& m) {
  using namespace py::literals;
  m.def("letterbox", &fill_tensor, "planes"_a, "bt709"_a, "full_range"_a, "resized"_a, "mean"_a, "std"_a, "out"_a,
        "Fill `out`, float32 [3, H, W] RGB, with the picture at size `resized` in its top-left corner, normalised.");
  m.def("yuv420_to_rgb", &to_rgb, "y"_a, "u"_a, "v"_a, "bt709"_a, "full_range"_a,
        "Return an I420 picture as uint8 [H, W, 3] RGB.");
  m.def("overlay", &paint, "planes"_a, "data"_a, "offsets"_a, "regions"_a, "grid_size"_a, "step"_a, "colours"_a,
        "alpha"_a, "outline"_a,
        "Blend the masks into the planes in place, the last one first; colours are uint8 [N, 3] RGB or YUV.");
}

}  // namespace solo::python
