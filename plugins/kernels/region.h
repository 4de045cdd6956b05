// The bounding box of a bit mask whose pixel p = y * width + x is bit p % 32 of word p / 32.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace solo {

// xyxy half-open.
struct Box {
  int32_t x0, y0, x1, y1;
};

// What add_word starts from.
SOLO_HOST_DEVICE Box empty_box() { return {INT32_MAX, INT32_MAX, 0, 0}; }

SOLO_HOST_DEVICE int32_t lesser(int32_t a, int32_t b) { return a < b ? a : b; }
SOLO_HOST_DEVICE int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }

SOLO_HOST_DEVICE int lowest_bit(uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

SOLO_HOST_DEVICE int highest_bit(uint32_t word) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(static_cast<int>(word));
#else
  return 31 - __builtin_clz(word);
#endif
}

// Grows the box by the pixels of word `index`.
SOLO_HOST_DEVICE void add_word(uint32_t word, int64_t index, int32_t width, Box* box) {
  while (word != 0) {  // once per row that has a pixel in the word
    const int first = lowest_bit(word);
    const auto pixel = static_cast<int32_t>(32 * index + first);
    const int32_t y = pixel / width, x = pixel % width;
    const int32_t end = lesser(32, first + width - x);  // of the row's bits
    const uint32_t row = end < 32 ? word & ((1u << end) - 1) : word;
    box->x0 = lesser(box->x0, x);
    box->y0 = lesser(box->y0, y);
    box->x1 = greater(box->x1, x + highest_bit(row) - first + 1);
    box->y1 = greater(box->y1, y + 1);
    word ^= row;
  }
}

// Returns the box one cell wider on every side that the grid allows; zeros for an empty one.
SOLO_HOST_DEVICE Box widen(const Box& box, int32_t height, int32_t width) {
  if (box.x1 == 0) return {0, 0, 0, 0};
  return {greater(box.x0 - 1, 0), greater(box.y0 - 1, 0), lesser(box.x1 + 1, width), lesser(box.y1 + 1, height)};
}

}  // namespace solo
