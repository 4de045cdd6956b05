// Values of a picture that lie pixel by pixel, as convolutions of CPUs compute them, to plane by plane.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

// Writes `out` [channels, pixels] from `values` [pixels, channels]. kBadSize where either is below 1.
Status channels_first(const float* values, int64_t pixels, int64_t channels, float* out);

}  // namespace solo
