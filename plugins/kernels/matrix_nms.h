// Matrix NMS: lowers the score of every mask by its overlap with better masks of the same class.
#pragma once

#include <cstdint>

#include "instruction_set.h"
#include "status.h"

namespace solo {

// Candidates in descending order of score; the order alone says which mask is better, also between equal scores.
struct RankedMasks {
  const uint64_t* bits;      // [any, words] bit masks, unused bits 0
  const int32_t* rows;       // [count] row of `bits` that holds the mask; candidates may share one
  const int32_t* areas;      // [count] set bits of the mask
  const int32_t* class_ids;  // [count]
  const float* scores;       // [count]
  int64_t count;
  int64_t words;
};

// Bytes of scratch memory that matrix_nms needs, aligned to 4 bytes.
constexpr int64_t matrix_nms_workspace(int64_t count) { return count * 12; }

// Writes the scores times decay, decayed [count], in the order of the input:
//
//   decay[j] = min(1, min over better i of the same class of f(iou(i, j)) / f(worst[i])),
//   worst[i] = max over better k of the same class of iou(k, i), 0 if there is none,
//   f(x) = exp(-sigma * x * x) for gaussian, 1 - x for linear; the linear denominator is at least 1e-6.
//
// The original takes the minimum over all pairs of the matrix; the pairs left out here give values of at least 1, and
// the best candidate of all gives at most 1. Masks that do not meet need no look either: their quotient is >= 1.
// Returns kBadSize if a size is negative, kBadArgument if sigma is not positive (gaussian) or the CPU lacks the
// instruction set, kTooSmall if the workspace is.
// Source: SOLOv2 (arXiv 2003.10152), section 3.3. The paper writes exp(-iou^2 / sigma) with sigma 0.5; released code
// and this function multiply by sigma = 2.
Status matrix_nms(const RankedMasks& masks, bool linear, float sigma, Isa isa, void* workspace, int64_t workspace_bytes,
                  float* decayed);

}  // namespace solo
