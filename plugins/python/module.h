// Shared by the binding files: one bind_* function per group of kernels.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "instruction_set.h"
#include "status.h"

namespace solo::python {

namespace py = pybind11;

// Height, width.
using Size = std::pair<int, int>;

// Raises ValueError naming the kernel unless the status is kOk.
void check(Status status, const char* kernel);

// Calls kernel() without the GIL, and checks its status.
template <typename Kernel>
void run(const char* name, const Kernel& kernel) {
  Status status;
  {
    const py::gil_scoped_release unlocked;
    status = kernel();
  }
  check(status, name);
}

// As above, kernel(workspace, bytes). What is not touched of the workspace never becomes memory. A negative size the
// kernel refuses itself.
template <typename Kernel>
void run(const char* name, int64_t bytes, const Kernel& kernel) {
  run(name, [&] {
    const std::unique_ptr<char[]> workspace(new char[static_cast<size_t>(std::max<int64_t>(bytes, 0))]);
    return kernel(workspace.get(), bytes);
  });
}

// Returns what one of best, plain, avx2 and avx512 stands for. Raises ValueError for others, and for what this CPU
// lacks.
Isa isa_of(const std::string& name);

void bind_decode(py::module_& m);    // candidates, dynamic convolution, matrix NMS
void bind_masks(py::module_& m);     // soft masks to boxes, run-length codes, dense masks, and their refinement
void bind_pixels(py::module_& m);    // letterbox, colour conversion, overlay
void bind_labels(py::module_& m);    // logits to labels, label maps to pixels, counts and overlay
void bind_maps(py::module_& m);      // layout of maps, those of SOLO and Decoupled SOLO to masks
void bind_tracks(py::module_& m);    // overlap of masks of two frames, assignment
void bind_training(py::module_& m);  // parts of training: batch normalisation, PReLU, depthwise convolution, loss

}  // namespace solo::python
