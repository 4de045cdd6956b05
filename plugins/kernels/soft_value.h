// Soft masks as bytes.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace solo {

// Returns round(255 * probability), at least 128 inside the mask and at most 127 outside.
SOLO_HOST_DEVICE int32_t soft_byte(float probability, bool inside) {
  const auto value = static_cast<int32_t>(255.0f * probability + 0.5f);
  const int32_t raised = value > 128 ? value : 128, lowered = value < 127 ? value : 127;
  return inside ? raised : lowered;
}

}  // namespace solo
