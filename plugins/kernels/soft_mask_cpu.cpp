#include <initializer_list>

#include "soft_mask.h"

namespace solo {

Status check_masks(const SoftMasks& masks, FrameSize frame) {
  if (frame.height < 1 || frame.width < 1 || frame.height > kMaxSide || frame.width > kMaxSide) return Status::kBadSize;
  if (masks.grid_height < 1 || masks.grid_width < 1) return Status::kBadSize;
  if (masks.grid_height > kMaxCells || masks.grid_width > kMaxCells) return Status::kBadSize;
  for (const double step : {masks.step_y, masks.step_x}) {
    if (!(step >= 0x1p-31 && step <= 0x1p14)) return Status::kBadArgument;
  }
  if (masks.count < 0 || masks.offsets[0] != 0 || masks.offsets[masks.count] > masks.data_size) return Status::kBadSize;
  for (int64_t i = 0; i < masks.count; ++i) {
    const int32_t* region = masks.regions + 4 * i;
    const bool in_grid = 0 <= region[0] && region[0] <= region[2] && region[2] <= masks.grid_width &&  //
                         0 <= region[1] && region[1] <= region[3] && region[3] <= masks.grid_height;
    if (!in_grid) return Status::kBadSize;
    const int64_t area = int64_t{region[2] - region[0]} * (region[3] - region[1]);
    if (masks.offsets[i + 1] - masks.offsets[i] != area) return Status::kBadSize;
  }
  return Status::kOk;
}

}  // namespace solo
