// The class with the largest logit of logits that are enlarged bilinearly, without enlarging them.
//
// Note [Enlarged argmax]
// Between four neighbouring logits every enlarged value is a mean of them with the same weights for all classes. So a
// class that is largest in all four corners of a cell is largest throughout it, and of a cell with one label in its
// corners nothing else needs to be looked at. Only cells that a border runs through, a few in a hundred, are computed.
#pragma once

#include <cstdint>

#include "frame_size.h"
#include "status.h"

namespace solo {

struct CoarseLogits {
  const float* values;  // [height, width, channels], 1..256 channels
  int height, width, channels;
};

// Bytes of workspace that enlarged_argmax needs.
int64_t enlarged_argmax_workspace(const CoarseLogits& logits, int columns);

// Writes labels uint8 [rows, columns] of the top-left corner of the logits enlarged to `full`, on at most `threads`
// threads: the first channel of those that are largest. Enlarging is bilinear with the corner samples on the corner
// pixels where `corners`, else with half-pixel centres and edges continued, as PyTorch's interpolate with and without
// align_corners; but an infinite logit counts as half of the largest float32, and NaN as minus that, so that enlarging
// makes no NaN.
// kBadSize where something is empty or the corner larger than `full`; kBadArgument for other numbers of channels or
// threads; kTooSmall for the workspace.
Status enlarged_argmax(const CoarseLogits& logits, FrameSize full, bool corners, int rows, int columns, int threads,
                       void* workspace, int64_t workspace_bytes, uint8_t* labels);

}  // namespace solo
