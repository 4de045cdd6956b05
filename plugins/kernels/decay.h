// The arithmetic of one pair of masks in matrix NMS; see matrix_nms.h for the formula.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace solo {

// Returns the intersection over union of two masks with these areas and this many common pixels.
SOLO_HOST_DEVICE float mask_iou(int64_t common, int64_t area, int64_t other_area) {
  const int64_t either = area + other_area - common;
  return static_cast<float>(common) / static_cast<float>(either > 1 ? either : 1);
}

// Returns f(iou) / f(worst), for gaussian as the exponent of e^sigma: the exponential is taken once per mask and not
// once per pair. The least one decides.
SOLO_HOST_DEVICE float decay_quotient(float iou, float worst, bool linear) {
  if (!linear) return (worst - iou) * (worst + iou);  // exactly 0 for equal ones, with or without fused multiply-add
  const float rest = 1.0f - worst;
  return (1.0f - iou) / (rest > 1e-6f ? rest : 1e-6f);
}

// The quotient that lowers nothing: decay is at most 1.
SOLO_HOST_DEVICE float neutral_quotient(bool linear) { return linear ? 1.0f : 0.0f; }

}  // namespace solo
