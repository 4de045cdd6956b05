// An I420 picture as RGB.
#pragma once

#include "colour.h"
#include "picture.h"
#include "status.h"

namespace solo {

// Writes rgb uint8 [height, width, 3], rows `stride` bytes apart. Each chroma sample serves its four pixels. Arithmetic
// in 1/65536, rounded to nearest and clamped to 0..255. kBadSize for an empty picture, kBadArgument for one in RGB.
Status yuv420_to_rgb(const ConstPicture& picture, ColourSpace space, uint8_t* rgb, int64_t stride);

}  // namespace solo
