#include "arrays.h"

#include <algorithm>
#include <cstdlib>

namespace solo::python {
namespace {

std::string describe(const py::dtype& dtype, const std::vector<py::ssize_t>& shape) {
  std::string text = py::str(dtype).cast<std::string>() + " [";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] == kAny ? std::string("any") : std::to_string(shape[i]));
  }
  return text + "]";
}

// The addresses from the first byte to behind the last one.
struct Span {
  int64_t begin, end;
};

int64_t row_bytes(const py::array& array) { return array.nbytes() / array.shape(0); }

Span span_of(const py::array& array) {
  const auto first = reinterpret_cast<intptr_t>(array.data());
  const int64_t last = first + (array.shape(0) - 1) * array.strides(0);
  return {std::min<int64_t>(first, last), std::max<int64_t>(first, last) + row_bytes(array)};
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

bool share_memory(const py::array& a, const py::array& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  const Span one = span_of(a), other = span_of(b);
  if (one.end <= other.begin || other.end <= one.begin) return false;
  const int64_t stride = std::abs(a.strides(0));
  if (stride == 0 || stride != std::abs(b.strides(0))) return true;  // such rows do not stay beside each other
  const int64_t apart = ((other.begin - one.begin) % stride + stride) % stride;
  return apart < row_bytes(a) || apart + row_bytes(b) > stride;
}

}  // namespace solo::python
