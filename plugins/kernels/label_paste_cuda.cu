// A block per label, a thread per quad of 2 x 2 pixels, which share one chroma sample. All blocks run at once: what a
// later label covers is left to that one, and as corners and sizes are even, a quad is covered entirely or not at all.
#include "frame_size.h"
#include "label_paste_cuda.h"
#include "launch.cuh"

namespace solo {
namespace {

constexpr int kThreads = 256;

__device__ bool covers(const SoloLabel& label, int x, int y) {
  return x >= label.x && x < label.x + label.width && y >= label.y && y < label.y + label.height;
}

__device__ uint8_t mix(int cover, uint8_t ink, uint8_t paper) {
  return static_cast<uint8_t>((cover * ink + (255 - cover) * paper + 127) / 255);
}

__global__ void __launch_bounds__(kThreads)
    paste(SoloPicture p, const SoloLabel* labels, const uint8_t* coverage, int count) {
  const SoloLabel label = labels[blockIdx.x];
  const uint8_t* pixels = coverage + label.coverage;
  const uint8_t* samples = pixels + int64_t{label.height} * label.width;
  const int across = label.width / 2, quads = across * (label.height / 2);
  for (int quad = threadIdx.x; quad < quads; quad += kThreads) {
    const int column = 2 * (quad % across), row = 2 * (quad / across);
    const int x = label.x + column, y = label.y + row;
    bool shown = x < p.width && y < p.height;
    for (int above = blockIdx.x + 1; shown && above < count; ++above) shown = !covers(labels[above], x, y);
    if (!shown) continue;
    for (int i = 0; i < 4; ++i) {
      if (x + i % 2 >= p.width || y + i / 2 >= p.height) continue;
      const int cover = pixels[(row + i / 2) * label.width + column + i % 2];
      p.planes[0][(y + i / 2) * p.strides[0] + x + i % 2] = mix(cover, label.ink[0], label.paper[0]);
    }
    const bool by_turns = p.format == SOLO_NV12;
    for (int c = 0; c < 2; ++c) {
      const int plane = by_turns ? 1 : 1 + c;
      uint8_t* line = p.planes[plane] + y / 2 * p.strides[plane];
      line[by_turns ? x + c : x / 2] = mix(samples[quad], label.ink[1 + c], label.paper[1 + c]);
    }
  }
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_paste_labels(const SoloPicture* picture, const SoloLabel* labels, const uint8_t* coverage, int32_t count,
                           void* stream) {
  const auto possible = [](int side) { return side >= 1 && side <= kMaxSide; };
  if (!possible(picture->height) || !possible(picture->width) || count < 0) return SOLO_BAD_SIZE;
  if (picture->format != SOLO_I420 && picture->format != SOLO_NV12) return SOLO_BAD_ARGUMENT;
  if (count == 0) return SOLO_OK;
  return launch(paste, dim3(static_cast<unsigned>(count)), kThreads, stream, *picture, labels, coverage, count);
}
