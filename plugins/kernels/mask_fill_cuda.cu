// Three steps: clear the boxes, write every word of every mask once, and turn the boxes into floats.
#include "mask_fill_cuda.h"
#include "mask_grid.cuh"

namespace solo {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = kThreads / kWarp;  // of a block; one warp each

// While the rows are written, a box holds what only grows: width - x0, height - y0, x1 and y1.
struct Growth {
  int32_t left, top, right, bottom;
};

__global__ void __launch_bounds__(kThreads)
    fill(MaskGrid grid, int height, int width, int words, uint32_t* pixels, Growth* boxes) {
  const int mask = blockIdx.y, y = blockIdx.x * kRows + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (mask >= grid.masks() || y >= height) return;
  const int32_t* region = grid.regions + 4 * mask;
  uint32_t* row = pixels + (int64_t{mask} * height + y) * words;
  const bool in_region = CellRange(grid.y, y, y).meets(region[1], region[3]);
  const int position = grid.y.position(y);
  int first = width, end = 0;
  uint32_t mine = 0;  // every lane keeps one word, so that 32 are written together
  for (int word = 0; word < words; ++word) {
    const int x = 32 * word + lane;
    uint32_t bits = 0;
    if (in_region && CellRange(grid.x, 32 * word, min(32 * word + 31, width - 1)).meets(region[0], region[2])) {
      const bool inside = x < width && holds(grid, grid.mask(mask), position, grid.x.position(x));
      bits = __ballot_sync(kFullWarp, inside);
    }
    if (lane == word % kWarp) mine = bits;
    const int start = word / kWarp * kWarp;
    if ((word % kWarp == kWarp - 1 || word == words - 1) && start + lane < words) row[start + lane] = mine;
    if (bits != 0) {
      first = min(first, 32 * word + __ffs(static_cast<int>(bits)) - 1);
      end = 32 * word + 32 - __clz(static_cast<int>(bits));
    }
  }
  if (end > 0 && lane == 0) {
    atomicMax(&boxes[mask].left, width - first);
    atomicMax(&boxes[mask].top, height - y);
    atomicMax(&boxes[mask].right, end);
    atomicMax(&boxes[mask].bottom, y + 1);
  }
}

__global__ void __launch_bounds__(kThreads) finish(int count, int height, int width, Growth* boxes) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const Growth grown = boxes[i];
  const bool empty = grown.right == 0;
  auto* box = reinterpret_cast<float*>(boxes + i);
  box[0] = empty ? 0.0f : static_cast<float>(width - grown.left);
  box[1] = empty ? 0.0f : static_cast<float>(height - grown.top);
  box[2] = static_cast<float>(grown.right);
  box[3] = static_cast<float>(grown.bottom);
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_fill_masks(const SoloMaskGrid* masks, int32_t height, int32_t width, uint32_t* pixels, float* boxes,
                         void* stream) {
  const int bad = check_grid(*masks, height, width);
  if (bad != SOLO_OK) return bad;
  if (masks->capacity > kMaxGridRows) return SOLO_BAD_SIZE;
  auto* growths = reinterpret_cast<Growth*>(boxes);
  const auto cleared = cudaMemsetAsync(growths, 0, sizeof(Growth) * masks->capacity, static_cast<cudaStream_t>(stream));
  if (cleared != cudaSuccess) return cuda_status(cleared);
  const dim3 grid(static_cast<unsigned>(ceil_div(height, kRows)), masks->capacity);
  const int words = (width + 31) / 32;
  const int status = launch(fill, grid, kThreads, stream, make_grid(*masks), height, width, words, pixels, growths);
  if (status != SOLO_OK) return status;
  return launch(finish, dim3(static_cast<unsigned>(ceil_div(masks->capacity, kThreads))), kThreads, stream,
                masks->capacity, height, width, growths);
}
