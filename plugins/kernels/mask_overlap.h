// How much the masks of two frames overlap, counted on their grid.
#pragma once

#include "soft_mask.h"

namespace solo {

// ious: float [first.count, second.count], cells that both masks hold divided by cells that either does; 0 for two
// empty ones. A cell belongs to a mask where its sample is above 127. Mask i of `first` is moved by shifts[2 * i] cells
// to the right and shifts[2 * i + 1] down, also out of the grid.
// Returns kBadSize unless both lie on grids of one size, and as check_masks does.
Status mask_overlap(const SoftMasks& first, const int32_t* shifts, const SoftMasks& second, float* ious);

}  // namespace solo
