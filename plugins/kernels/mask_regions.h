// Where on the grid a bit mask lies.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

// Writes, for each mask, the bounding box of its set bits, one cell wider on every side that the grid allows.
//
// bits [any, mask_words(height, width)] as binarise_masks writes them, rows int32 [count] the mask of each region,
// regions int32 [count, 4] xyxy half-open, grid cells; an empty mask gives 0, 0, 0, 0.
// Returns kBadSize if a size is negative, or height or width is 0.
Status mask_regions(const uint64_t* bits, const int32_t* rows, int64_t count, int64_t height, int64_t width,
                    int32_t* regions);

}  // namespace solo
