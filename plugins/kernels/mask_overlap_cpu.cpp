#include <algorithm>
#include <vector>

#include "mask_overlap.h"

namespace solo {
namespace {

struct Region {
  int64_t x0, y0, x1, y1;
};

Region region_of(const SoftMasks& masks, int64_t i, int64_t dx = 0, int64_t dy = 0) {
  const int32_t* r = masks.regions + 4 * i;
  return {r[0] + dx, r[1] + dy, r[2] + dx, r[3] + dy};
}

// Samples above 127 are those whose highest bit is set.
int32_t count(const uint8_t* samples, int64_t n) {
  int32_t inside = 0;
  for (int64_t i = 0; i < n; ++i) inside += samples[i] >> 7;
  return inside;
}

int32_t count_shared(const uint8_t* a, const uint8_t* b, int64_t n) {
  int32_t inside = 0;
  for (int64_t i = 0; i < n; ++i) inside += (a[i] & b[i]) >> 7;
  return inside;
}

}  // namespace

Status mask_overlap(const SoftMasks& first, const int32_t* shifts, const SoftMasks& second, float* ious) {
  std::vector<int32_t> areas;
  for (const SoftMasks* masks : {&first, &second}) {
    if (const Status status = check_masks(*masks, {1, 1}); status != Status::kOk) return status;
    if (masks->grid_height != first.grid_height || masks->grid_width != first.grid_width) return Status::kBadSize;
    for (int64_t i = 0; i < masks->count; ++i) {
      areas.push_back(count(masks->data + masks->offsets[i], masks->offsets[i + 1] - masks->offsets[i]));
    }
  }
  for (int64_t i = 0; i < first.count; ++i) {
    const Region a = region_of(first, i, shifts[2 * i], shifts[2 * i + 1]);
    const uint8_t* data = first.data + first.offsets[i];
    for (int64_t j = 0; j < second.count; ++j) {
      const Region b = region_of(second, j);
      const uint8_t* other = second.data + second.offsets[j];
      const int64_t x0 = std::max(a.x0, b.x0), x1 = std::min(a.x1, b.x1);
      int32_t shared = 0;
      for (int64_t y = std::max(a.y0, b.y0); x0 < x1 && y < std::min(a.y1, b.y1); ++y) {
        shared += count_shared(data + (y - a.y0) * (a.x1 - a.x0) + x0 - a.x0,
                               other + (y - b.y0) * (b.x1 - b.x0) + x0 - b.x0, x1 - x0);
      }
      const int32_t either = areas[i] + areas[first.count + j] - shared;
      *ious++ = either > 0 ? static_cast<float>(shared) / static_cast<float>(either) : 0.0f;
    }
  }
  return Status::kOk;
}

}  // namespace solo
