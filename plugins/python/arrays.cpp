#include "arrays.h"

namespace solo::python {
namespace {

std::string describe(const py::dtype& dtype, const std::vector<py::ssize_t>& shape) {
  std::string text = py::str(dtype).cast<std::string>() + " [";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] == kAny ? std::string("any") : std::to_string(shape[i]));
  }
  return text + "]";
}

}  // namespace

void require(const py::array& array, const char* name, const py::dtype& dtype, const std::vector<py::ssize_t>& shape,
             Layout layout) {
  const std::vector<py::ssize_t> found(array.shape(), array.shape() + array.ndim());
  bool fits = found.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == kAny || shape[i] == found[i];
  const bool same_dtype = array.dtype().equal(dtype);
  if (!same_dtype || !fits) {
    const std::string message =
        std::string(name) + ": expected " + describe(dtype, shape) + ", got " + describe(array.dtype(), found);
    if (!same_dtype) throw py::type_error(message);
    throw py::value_error(message);
  }
  if (array.size() == 0) return;  // strides of nothing mean nothing

  py::ssize_t expected = array.itemsize();
  const py::ssize_t first = layout == Layout::kPaddedRows ? 1 : 0;
  for (py::ssize_t axis = array.ndim() - 1; axis >= first; --axis) {
    if (array.shape(axis) > 1 && array.strides(axis) != expected) {
      throw py::value_error(std::string(name) + ": expected " + (first ? "contiguous rows" : "a contiguous array") +
                            ", got gaps between elements; copy it with numpy.ascontiguousarray");
    }
    expected *= array.shape(axis);
  }
}

}  // namespace solo::python
