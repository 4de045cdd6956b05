#include <algorithm>

#include "blend.h"
#include "label_overlay.h"
#include "parallel.h"

namespace solo {
namespace {

constexpr int kSampleBlock = 24;  // bytes of a plane blended at a time; GCC unrolls shorter loops into scalar code
constexpr int kBandRows = 32;     // rows painted by one thread at a time; even, so that bands share no chroma row

// What blending a label takes, by label.
struct Paint {
  uint16_t keeps[kLabels];
  uint16_t adds[kLabels][kRgbBytes];  // as blend_rgb takes them; the first three are those of the channels

  explicit Paint(const LabelStyle& style) {
    for (int label = 0; label < kLabels; ++label) {
      keeps[label] = static_cast<uint16_t>(kFull - style.alphas[label]);
      fill_rgb_adds(style.colours + 3 * label, style.alphas[label], adds[label]);
    }
  }
};

// Blends `count` bytes from `in` into `out`, and those behind them up to the end of a block, but none beyond `room`:
// the next stretch overwrites them, and a loop over whole blocks is faster than one that ends at a byte.
// adds: for the bytes of a block.
template <int kBlock>
void blend_over(const uint8_t* __restrict in, uint8_t* __restrict out, int count, int room, uint16_t keep,
                const uint16_t* __restrict adds) {
  int done = 0;
  for (; done < count && done + kBlock <= room; done += kBlock) {
    for (int i = 0; i < kBlock; ++i) out[done + i] = blend(in[done + i], keep, adds[i]);
  }
  for (int i = 0; done + i < count; ++i) out[done + i] = blend(in[done + i], keep, adds[i]);
}

// A row of one plane, before and after.
struct Row {
  const uint8_t* in;
  uint8_t* out;
  int bytes;

  void blend_plane(int begin, int end, uint16_t keep, uint16_t add) const {
    uint16_t adds[kSampleBlock];
    std::fill(adds, adds + kSampleBlock, add);
    blend_over<kSampleBlock>(in + begin, out + begin, end - begin, bytes - begin, keep, adds);
  }
};

Row row_of(const ConstPicture& from, const Picture& to, int plane, int y, int bytes) {
  return {from.planes[plane] + y * from.strides[plane], to.planes[plane] + y * to.strides[plane], bytes};
}

// Blends the chroma samples [begin, end), each of which serves one pair of pixels of label a and one of label b.
void blend_pairs(const Row& row, int begin, int end, const Paint& paint, int a, int b, int channel) {
  if (a == b) {
    row.blend_plane(begin, end, paint.keeps[a], paint.adds[a][channel]);
    return;
  }
  const int keep = paint.keeps[a] + paint.keeps[b], add = paint.adds[a][channel] + paint.adds[b][channel];
  for (int i = begin; i < end; ++i) row.out[i] = static_cast<uint8_t>((row.in[i] * keep + add) >> 9);
}

// Blends one chroma sample that serves four pixels.
void blend_four(const Row& row, int at, const Paint& paint, const int (&labels)[4], int channel) {
  int keep = 0, add = 0;
  for (const int label : labels) {
    keep += paint.keeps[label];
    add += paint.adds[label][channel];
  }
  row.out[at] = static_cast<uint8_t>((row.in[at] * keep + add) >> 10);
}

void paint_rgb_row(const ConstPicture& from, const Picture& to, const LabelMap& map, const Paint& paint, int y) {
  const Row row = row_of(from, to, 0, y, 3 * to.width);
  LabelRuns runs(label_row(map, {to.height, to.width}, y), map.width, to.width);
  for (int x = 0; x < to.width; runs.advance()) {
    const int label = runs.label(), at = 3 * x;
    blend_over<kRgbBytes>(row.in + at, row.out + at, 3 * (runs.end() - x), row.bytes - at, paint.keeps[label],
                          paint.adds[label]);
    x = runs.end();
  }
}

// Paints rows y and y + 1 with the chroma row they share; the last row of an odd height stands for both.
void paint_yuv_rows(const ConstPicture& from, const Picture& to, const LabelMap& map, const Paint& paint, int y) {
  const FrameSize frame{to.height, to.width};
  const int below = std::min(y + 1, frame.height - 1);
  const Row upper = row_of(from, to, 0, y, frame.width), lower = row_of(from, to, 0, below, frame.width);
  const Row chroma[2] = {row_of(from, to, 1, y / 2, (frame.width + 1) / 2),
                         row_of(from, to, 2, y / 2, (frame.width + 1) / 2)};
  LabelRuns top(label_row(map, frame, y), map.width, frame.width);
  LabelRuns bottom(label_row(map, frame, below), map.width, frame.width);
  int a_before = 0, b_before = 0;
  for (int begin = 0; begin < frame.width;) {
    const int a = top.label(), b = bottom.label(), end = std::min(top.end(), bottom.end());
    upper.blend_plane(begin, end, paint.keeps[a], paint.adds[a][0]);
    lower.blend_plane(begin, end, paint.keeps[b], paint.adds[b][0]);
    const int last = end == frame.width ? (end + 1) / 2 : end / 2;
    for (int c = 1; c < 3; ++c) {
      if (begin % 2 == 1) blend_four(chroma[c - 1], begin / 2, paint, {a_before, b_before, a, b}, c);
      blend_pairs(chroma[c - 1], (begin + 1) / 2, last, paint, a, b, c);
    }
    a_before = a;
    b_before = b;
    if (top.end() == end) top.advance();
    if (bottom.end() == end) bottom.advance();
    begin = end;
  }
}

}  // namespace

Status overlay_labels(const ConstPicture& from, const LabelMap& map, const LabelStyle& style, int threads,
                      const Picture& to) {
  if (const Status status = check_labels(map, {to.height, to.width}); status != Status::kOk) return status;
  if (from.height != to.height || from.width != to.width || from.yuv420 != to.yuv420) return Status::kBadSize;
  const bool in_range = std::all_of(style.alphas, style.alphas + kLabels, [](int alpha) { return alpha <= kFull; });
  if (!in_range || threads < 1) return Status::kBadArgument;
  const Paint paint(style);
  parallel_for(threads, (to.height + kBandRows - 1) / kBandRows, [&](int, int64_t band) {
    const int begin = static_cast<int>(band) * kBandRows, end = std::min(begin + kBandRows, to.height);
    if (to.yuv420) {
      for (int y = begin; y < end; y += 2) paint_yuv_rows(from, to, map, paint, y);
    } else {
      for (int y = begin; y < end; ++y) paint_rgb_row(from, to, map, paint, y);
    }
  });
  return Status::kOk;
}

}  // namespace solo
