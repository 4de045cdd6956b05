// Sorting in the shared memory of one block.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace solo {

struct Ranked {
  uint64_t key;
  int32_t value;
};

__device__ inline bool goes_before(uint64_t a, uint64_t b) { return a < b; }
__device__ inline bool goes_before(const Ranked& a, const Ranked& b) { return a.key < b.key; }

// Returns the least power of two that is at least `count`.
__device__ inline int sort_size(int count) {
  int size = 1;
  while (size < count) size *= 2;
  return size;
}

// Sorts by ascending key; `size` is a power of two and the same for all threads. Items must be visible to all threads
// (a barrier after writing them), and are so again on return. A bitonic network: its barriers are the cost, about ten
// microseconds for 2048 items and two for 64.
template <typename Item>
__device__ void sort_block(Item* items, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      for (int pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
        const int low = 2 * pair - (pair & (distance - 1)), high = low + distance;
        const bool ascending = (low & run) == 0;
        if (goes_before(items[high], items[low]) == ascending) {
          const Item item = items[low];
          items[low] = items[high];
          items[high] = item;
        }
      }
      __syncthreads();
    }
  }
}

}  // namespace solo
