// Soft masks lifted to half the size of the frame, their outlines drawn to the edges of the picture.
//
// Note [Refining a mask]
// Whether a pixel at an outline belongs to the object, its colour tells. Cells of the grid are mixed where the 3 x 3
// cells around hold samples of both sides. In such a window the colours of inside and outside have means f and b, each
// pixel counted for both by its share p, and in common the variance s, of every channel alone, with a floor for noise.
// The logarithm of the odds of a colour x is then half of ((x - b)^2 - (x - f)^2) / s, which is linear in x: per
// channel 2 (f - b) / s * x + (b^2 - f^2) / s. So a mixed cell has four coefficients, which are interpolated between
// cells like the samples (others have zeros, so the effect ends softly), and a pixel becomes
//     p + clamp(kWeight * evidence, -kMost, kMost), kMost being just below a half:
// what the network is sure of, colour cannot turn, and where all samples around are 0 or all 255, none is asked. Pixels
// are averages of 2 x 2, as fine as video stores its colours.
//
// It has the form of the guided filter (He, Sun, Tang 2010), which fits p itself by a line in x: on outlines that are
// right already that one loses, this one does not.
#pragma once

#include "picture.h"
#include "soft_mask.h"

namespace solo {

// Writes regions int32 [count, 4] xyxy and offsets int64 [count + 1] of the refined masks, in cells of 2 x 2 pixels.
// kBadSize as check_masks does, and for a frame of more than 2 * kMaxCells pixels a side.
Status refined_regions(const SoftMasks& masks, FrameSize frame, int32_t* regions, int64_t* offsets);

// Writes the samples of the refined masks, data uint8 [offsets[count]], for regions and offsets as refined_regions
// gives them. So that no mask loses its last pixel, its highest sample becomes 255 if it is below 227. kBadSize as
// check_masks does; a frame that is too large only refined_regions refuses, so that one is called first.
Status refine_masks(const ConstPicture& picture, const SoftMasks& masks, const int32_t* regions, const int64_t* offsets,
                    uint8_t* data);

}  // namespace solo
