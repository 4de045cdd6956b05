// The class with the largest logit, for every pixel.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

struct Logits {
  const float* values;  // [channels, height, width], 1..256 channels
  int channels, height, width;
};

// Writes labels uint8 [rows, columns] of the top-left corner, on at most `threads` threads: the first channel of those
// that are largest. NaN counts as -inf.
// kBadSize where the corner is empty or larger than the logits; kBadArgument for other numbers of channels or threads.
Status argmax(const Logits& logits, int rows, int columns, int threads, uint8_t* labels);

}  // namespace solo
