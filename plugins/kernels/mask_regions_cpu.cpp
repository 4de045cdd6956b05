#include <algorithm>

#include "dynamic_conv.h"
#include "mask_regions.h"

namespace solo {

Status mask_regions(const uint64_t* bits, const int32_t* rows, int64_t count, int64_t height, int64_t width,
                    int32_t* regions) {
  if (count < 0 || height < 1 || width < 1) return Status::kBadSize;
  const int64_t across = (width + kTileSide - 1) / kTileSide;
  const int64_t words = mask_words(height, width);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t* mask = bits + rows[i] * words;
    int64_t x0 = width, y0 = height, x1 = 0, y1 = 0;
    for (int64_t w = 0; w < words; ++w) {
      if (mask[w] == 0) continue;
      uint64_t columns = mask[w] | mask[w] >> 32;  // the rows of the tile laid over each other, in the lowest byte
      columns |= columns >> 16;
      columns = (columns | columns >> 8) & 0xff;
      const int64_t left = w % across * kTileSide;
      const int64_t top = w / across * kTileSide;
      x0 = std::min<int64_t>(x0, left + __builtin_ctzll(columns));
      x1 = std::max<int64_t>(x1, left + 64 - __builtin_clzll(columns));
      y0 = std::min<int64_t>(y0, top + __builtin_ctzll(mask[w]) / kTileSide);
      y1 = std::max<int64_t>(y1, top + kTileSide - __builtin_clzll(mask[w]) / kTileSide);
    }
    int32_t* region = regions + 4 * i;
    if (x1 == 0) {
      std::fill_n(region, 4, 0);
      continue;
    }
    region[0] = static_cast<int32_t>(std::max<int64_t>(x0 - 1, 0));
    region[1] = static_cast<int32_t>(std::max<int64_t>(y0 - 1, 0));
    region[2] = static_cast<int32_t>(std::min(x1 + 1, width));
    region[3] = static_cast<int32_t>(std::min(y1 + 1, height));
  }
  return Status::kOk;
}

}  // namespace solo
