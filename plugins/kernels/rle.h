// One soft mask as a COCO compressed run-length code.
#pragma once

#include "soft_mask.h"

namespace solo {

// Bytes that are enough for the text of mask `index` at this frame size, after check_masks.
int64_t encoded_capacity(const SoftMasks& masks, int64_t index, FrameSize frame);

// Writes the text and its length in bytes; it is ASCII without a terminator. kTooSmall if the text does not fit.
//
// The code lists the lengths of the stretches of 0s and 1s, in turn and beginning with 0s, of the mask read column by
// column. From the fourth on, a length is written as its difference to the one before the last. A number is written in
// groups of 5 bits, lowest first: 48 + bits, plus 32 where more follow; bit 4 of the last group is the sign.
// Source: cocoapi, common/maskApi.c, rleEncode and rleToString; equal to them byte for byte.
Status encode_mask(const SoftMasks& masks, int64_t index, FrameSize frame, char* text, int64_t capacity,
                   int64_t* length);

}  // namespace solo
