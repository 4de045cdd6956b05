// One soft mask as pixels.
#pragma once

#include "soft_mask.h"

namespace solo {

// A rectangle of the frame and where its pixels are. Rows may be padded.
struct Window {
  uint8_t* pixels;
  int64_t stride;  // bytes from one row to the next
  int x, y;        // frame pixel of the first element
  int height, width;
};

// Sets the pixels of mask `index` inside the window to 1 and touches no other.
Status fill_mask(const SoftMasks& masks, int64_t index, const Window& window);

}  // namespace solo
