// Soft masks painted onto a picture.
#pragma once

#include "picture.h"
#include "soft_mask.h"

namespace solo {

struct OverlayStyle {
  const uint8_t* colours;  // [count, 3] in the channels of the picture: RGB or YUV
  int alpha;               // opacity of the inside, 0..256
  int outline;             // thickness of the opaque outline in pixels, 0..kMaxOutline
};

constexpr int kMaxOutline = 32;

// Bytes of workspace that overlay needs, after check_masks.
int64_t overlay_workspace(const SoftMasks& masks, FrameSize frame, int outline);

// Blends every mask into the picture in place, the last one first, so that the first lies on top.
//
// A pixel of a mask belongs to its outline where a pixel of the frame outside the mask is at most `outline` away
// (Euclidean distance of centres); there is none along the frame's edge, where an object goes on unseen.
// A sample becomes (sample * (256 - w) + colour * w + 128) >> 8 with w = 256 on the outline and alpha inside; for U and
// V, w is the mean over the one, two or four pixels that the sample serves, 0 where outside, rounded half up.
//
// The workspace is aligned as malloc's memory is; kTooSmall if it is too small.
Status overlay(const Picture& picture, const SoftMasks& masks, const OverlayStyle& style, void* workspace,
               int64_t workspace_bytes);

}  // namespace solo
