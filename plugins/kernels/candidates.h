// Candidates: the (cell, class) pairs whose score is worth decoding a mask for.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

// Writes the indices of all scores strictly above the threshold, ascending, and their number.
//
// scores [count] contiguous; NaN is never above. indices holds `capacity` values; capacity >= count always suffices.
// Returns kBadSize if a size is negative, kTooSmall if there are more than `capacity`; `found` counts them all then.
// Source: SOLOv2 (arXiv 2003.10152), section 3.3; index = cell * classes + class_id when scores are [cells, classes].
Status find_candidates(const float* scores, int64_t count, float threshold, int32_t* indices, int64_t capacity,
                       int64_t* found);

}  // namespace solo
