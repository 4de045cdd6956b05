// Checks of the arrays that Python hands to the kernels. Nothing is converted or copied: an array fits or is refused.
#pragma once

#include <vector>

#include "module.h"

namespace solo::python {

constexpr py::ssize_t kAny = -1;

// How many of the last axes must lie without gaps in memory; the ones before may have any stride.
enum class Layout { kContiguous, kPaddedRows };

// Raises TypeError or ValueError "<name>: expected <dtype> [..], got <dtype> [..]" unless the array has this shape
// (kAny fits every length), dtype and layout. For kPaddedRows all axes but the first are contiguous.
void require(const py::array& array, const char* name, const py::dtype& dtype, const std::vector<py::ssize_t>& shape,
             Layout layout = Layout::kContiguous);

template <typename T>
const T* checked(const py::array& array, const char* name, const std::vector<py::ssize_t>& shape,
                 Layout layout = Layout::kContiguous) {
  require(array, name, py::dtype::of<T>(), shape, layout);
  return static_cast<const T*>(array.data());
}

// As `checked`, and raises ValueError if the array is read-only.
template <typename T>
T* writable(py::array& array, const char* name, const std::vector<py::ssize_t>& shape,
            Layout layout = Layout::kContiguous) {
  require(array, name, py::dtype::of<T>(), shape, layout);
  if (!array.writeable()) throw py::value_error(std::string(name) + ": expected an array that may be written to");
  return static_cast<T*>(array.mutable_data());
}

// Whether two arrays that passed with kPaddedRows have bytes in common. Rows side by side in the same wider ones do
// not.
bool share_memory(const py::array& a, const py::array& b);

}  // namespace solo::python
