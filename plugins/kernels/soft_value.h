// Soft masks as bytes, and where they are inside.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace solo {

// Returns the logit of a mask threshold, -infinity for 0: sigmoid(x) > threshold where x exceeds it.
inline float logit_of(double threshold) { return static_cast<float>(std::log(threshold / (1.0 - threshold))); }

// Returns round(255 * probability), at least 128 inside the mask and at most 127 outside.
SOLO_HOST_DEVICE int32_t soft_byte(float probability, bool inside) {
  const auto value = static_cast<int32_t>(255.0f * probability + 0.5f);
  const int32_t raised = value > 128 ? value : 128, lowered = value < 127 ? value : 127;
  return inside ? raised : lowered;
}

}  // namespace solo
