// One launch; a thread paints a quad of 2 x 2 pixels. A block first works out what blending each label takes.
#include "blend.h"
#include "label_map.h"
#include "label_overlay_cuda.h"
#include "launch.cuh"
#include "picture.cuh"

namespace solo {
namespace {

constexpr int kColumns = 32, kLines = 8, kThreads = kColumns * kLines;  // of quads
static_assert(kThreads == kLabels, "a thread fills the entry of one label");

// What blending a label takes.
struct Paint {
  uint16_t keep, adds[3];
};

// Returns the cell that holds the centre of a pixel.
__device__ int cell_of(int pixel, int cells, int pixels) {
  const uint64_t numerator = (uint64_t{2} * pixel + 1) * cells;
  if (numerator >> 32 == 0) return static_cast<int>(static_cast<uint32_t>(numerator) / (2u * pixels));  // much faster
  return static_cast<int>(numerator / (uint64_t{2} * pixels));
}

__device__ void blend_in(RgbQuad& quad, const Paint* const (&paints)[4]) {
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < 3; ++c) quad.samples[i][c] = blend(quad.samples[i][c], paints[i]->keep, paints[i]->adds[c]);
  }
}

__device__ void blend_in(YuvQuad& quad, const Paint* const (&paints)[4]) {
  int keep = 0, adds[2] = {};
  for (int i = 0; i < 4; ++i) {
    quad.luma[i] = blend(quad.luma[i], paints[i]->keep, paints[i]->adds[0]);
    keep += paints[i]->keep;
    for (int c = 0; c < 2; ++c) adds[c] += paints[i]->adds[1 + c];
  }
  for (int c = 0; c < 2; ++c) quad.chroma[c] = static_cast<uint8_t>((quad.chroma[c] * keep + adds[c]) >> 10);
}

template <typename Quad>
__global__ void __launch_bounds__(kThreads) paint(SoloPicture picture, SoloLabelMap map, SoloLabelStyle style) {
  __shared__ Paint paints[kLabels];
  const int alpha = style.alphas[threadIdx.x];
  Paint& mine = paints[threadIdx.x];
  mine.keep = blend_keep(alpha);
  for (int c = 0; c < 3; ++c) mine.adds[c] = blend_add(style.colours[3 * threadIdx.x + c], alpha);
  __syncthreads();
  const int x = 2 * (blockIdx.x * kColumns + threadIdx.x % kColumns);
  const int y = 2 * (blockIdx.y * kLines + threadIdx.x / kColumns);
  if (x >= picture.width || y >= picture.height) return;
  const Paint* of_pixels[4];  // beyond the picture the last pixel counts again, as the chroma sample serves it alone
  for (int i = 0; i < 4; ++i) {
    const int row = cell_of(min(y + i / 2, picture.height - 1), map.height, picture.height);
    const int column = cell_of(min(x + i % 2, picture.width - 1), map.width, picture.width);
    of_pixels[i] = paints + map.labels[row * map.stride + column];
  }
  Quad quad;
  quad.load(picture, x, y);
  blend_in(quad, of_pixels);
  quad.store(picture, x, y);
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_overlay_labels(const SoloPicture* picture, const SoloLabelMap* map, const SoloLabelStyle* style,
                             void* stream) {
  const LabelMap labels{map->labels, map->stride, map->height, map->width};
  if (check_labels(labels, {picture->height, picture->width}) != Status::kOk) return SOLO_BAD_SIZE;
  if (picture->format < SOLO_RGB || picture->format > SOLO_NV12) return SOLO_BAD_ARGUMENT;
  const dim3 grid(static_cast<unsigned>(ceil_div(picture->width, 2 * kColumns)),
                  static_cast<unsigned>(ceil_div(picture->height, 2 * kLines)));
  return launch(is_yuv(*picture) ? paint<YuvQuad> : paint<RgbQuad>, grid, kThreads, stream, *picture, *map, *style);
}
