// Labels painted onto a picture.
#pragma once

#include "label_map.h"
#include "picture.h"

namespace solo {

struct LabelStyle {
  const uint8_t* colours;  // [kLabels, 3] in the channels of the picture: RGB or YUV
  const uint16_t* alphas;  // [kLabels] opacity, 0..256
};

// Writes the picture `from` with the colour of every pixel's label blended in to `to`, which must be another one of the
// same size and format, on at most `threads` threads.
//
// A sample of RGB or Y becomes (sample * (256 - alpha) + colour * alpha + 128) >> 8; one of U or V is the mean of what
// this formula gives, before rounding, for the one, two or four pixels that it serves.
// kBadSize for an empty picture or map, or pictures that differ; kBadArgument for an alpha above 256 or fewer than one
// thread.
Status overlay_labels(const ConstPicture& from, const LabelMap& map, const LabelStyle& style, int threads,
                      const Picture& to);

}  // namespace solo
