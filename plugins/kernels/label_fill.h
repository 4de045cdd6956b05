// Labels as the pixels of a frame.
#pragma once

#include "label_map.h"

namespace solo {

// Writes the label of every pixel: uint8 [frame.height, frame.width], rows `stride` bytes apart.
Status fill_labels(const LabelMap& map, FrameSize frame, uint8_t* pixels, int64_t stride);

}  // namespace solo
