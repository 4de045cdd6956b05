// The Python face of the kernels: checks shapes, releases the GIL, turns statuses into exceptions.
#include "module.h"

#include "denormals.h"

namespace solo::python {

void check(Status status, const char* kernel) {
  if (status == Status::kOk) return;
  const char* reason = status == Status::kBadSize       ? "sizes contradict each other"
                       : status == Status::kBadArgument ? "an argument is out of range"
                                                        : "a buffer is too small";
  throw py::value_error(std::string(kernel) + ": " + reason);
}

Isa isa_of(const std::string& name) {
  Isa isa = best_isa();
  if (name == "plain") {
    isa = Isa::kPlain;
  } else if (name == "avx2") {
    isa = Isa::kAvx2;
  } else if (name == "avx512") {
    isa = Isa::kAvx512;
  } else if (name != "best") {
    throw py::value_error("instruction_set: expected best, plain, avx2 or avx512, got " + name);
  }
  if (!has_isa(isa)) throw py::value_error("instruction_set: this CPU has no " + name);
  return isa;
}

}  // namespace solo::python

PYBIND11_MODULE(_native, m) {
  m.doc() = "CPU kernels of solo-rt.";
  m.attr("ALL_FLUSHES") = solo::kFlushes;
  m.def("set_flushes", &solo::set_flushes, "What the processor takes denormals for, in this thread; see denormals.h.",
        solo::python::py::arg("wanted"));
  solo::python::bind_decode(m);
  solo::python::bind_masks(m);
  solo::python::bind_pixels(m);
  solo::python::bind_labels(m);
  solo::python::bind_maps(m);
  solo::python::bind_tracks(m);
  solo::python::bind_training(m);
}
