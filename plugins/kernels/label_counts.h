// How many pixels of a frame have each label.
#pragma once

#include "label_map.h"

namespace solo {

// Writes counts [kLabels], which add up to the pixels of the frame: what counting the output of fill_labels would give,
// at the cost of counting the grid.
Status count_labels(const LabelMap& map, FrameSize frame, int64_t* counts);

}  // namespace solo
