// Soft masks that are maps of the network, or products of two: what SOLO and Decoupled SOLO decode.
//
// A level's maps are coarser than the grid on which masks are compared. They become probabilities and are enlarged to
// it before anything is compared, as in the original, and only the maps of candidates are.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

struct PlaneSize {
  int64_t height, width;
};

// Map r is maps[rows[r]]; the caller vouches for the range of rows.
struct LogitMaps {
  const float* maps;    // [any, size.height, size.width] logits
  const int32_t* rows;  // [count]
  int64_t count;
  PlaneSize size;
};

// Bytes of scratch memory that enlarge_maps needs, aligned to 4 bytes; -1 if it refuses the sizes or the threads.
int64_t enlarge_maps_workspace(const LogitMaps& maps, PlaneSize between, PlaneSize grid, int threads);

// Writes the maps as probabilities on the grid, soft [count, grid]: resized to `between`, then the logistic function,
// then resized to `grid`. Resizing is bilinear with half-pixel centres, rows first; to the same size it is the
// identity. The result does not depend on `threads`. Returns kBadSize for a size below 1 (count may be 0) or above
// 2^20 and for sizes that need more than kMostWorkspace, kBadArgument for threads below 1, kTooSmall if the workspace
// is.
Status enlarge_maps(const LogitMaps& maps, PlaneSize between, PlaneSize grid, int threads, void* workspace,
                    int64_t workspace_bytes, float* soft);

// Mask r is soft[first[r]] * soft[second[r]], or soft[first[r]] alone without `second`. The caller vouches for the
// range.
struct SoftProducts {
  const float* soft;      // [any, size.height, size.width] in 0..1
  const int32_t* first;   // [count]
  const int32_t* second;  // [count] or null
  int64_t count;
  PlaneSize size;
};

// Writes, for each mask, the bits `value > threshold`, their number and the sum of the values there.
//
// bits uint64 [count, mask_words(size)] as in dynamic_conv.h, areas int32 [count], soft_sums float32 [count].
// Statuses as above.
Status binarise_products(const SoftProducts& masks, float threshold, int threads, uint64_t* bits, int32_t* areas,
                         float* soft_sums);

// Writes the masks inside their regions as bytes, at least 128 where value > threshold and at most 127 elsewhere.
//
// A byte is round(255 * v) with v = p (1 - t) / (p (1 - t) + (1 - p) t), which is p itself for the usual threshold of
// 0.5 and otherwise crosses 0.5 where p crosses t. regions int32 [count, 4] xyxy half-open inside the grid, offsets
// int64 [count + 1] with offsets[r + 1] - offsets[r] = region area, data uint8 [offsets[count]]. Statuses as above.
Status crop_products(const SoftProducts& masks, float threshold, int threads, const int32_t* regions,
                     const int64_t* offsets, uint8_t* data);

}  // namespace solo
