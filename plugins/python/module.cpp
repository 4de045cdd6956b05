// The Python face of the kernels: checks shapes, releases the GIL, turns statuses into exceptions.
#include "module.h"

namespace solo::python {

void check(Status status, const char* kernel) {
  if (status == Status::kOk) return;
  const char* reason = status == Status::kBadSize       ? "sizes contradict each other"
                       : status == Status::kBadArgument ? "an argument is out of range"
                                                        : "a buffer is too small";
  throw py::value_error(std::string(kernel) + ": " + reason);
}

}  // namespace solo::python

PYBIND11_MODULE(_native, m) {
  m.doc() = "CPU kernels of solo-rt.";
  solo::python::bind_decode(m);
  solo::python::bind_masks(m);
  solo::python::bind_pixels(m);
  solo::python::bind_labels(m);
  solo::python::bind_maps(m);
  solo::python::bind_tracks(m);
}
