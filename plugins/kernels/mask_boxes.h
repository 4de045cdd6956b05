// Tight boxes of soft masks at frame size.
#pragma once

#include "soft_mask.h"

namespace solo {

// boxes: float [count, 4] xyxy in frame pixels, half-open; zeros for a mask without a pixel in the frame.
Status mask_boxes(const SoftMasks& masks, FrameSize frame, float* boxes);

}  // namespace solo
