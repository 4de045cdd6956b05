#include <algorithm>
#include <cstring>

#include "blend.h"
#include "mask_lines.h"
#include "overlay.h"

namespace solo {
namespace {

// weights: sums over the pixels of a sample; `scale` makes them count 4 * kFull where all of its pixels are opaque.
void blend_chroma(uint8_t* samples, const uint16_t* weights, int count, int scale, int colour) {
  for (int i = 0; i < count; ++i) {
    const int weight = mean_weight(weights[i], scale);
    samples[i] = blend(samples[i], blend_keep(weight), blend_add(colour, weight));
  }
}

// Adds a weight for every pixel of a row to the chroma sample that serves it.
void add_weight(uint16_t* weights, int begin, int end, int weight) {
  if (begin & 1) weights[begin++ / 2] += weight;
  if (begin < end && end & 1) weights[--end / 2] += weight;
  for (int i = begin / 2; i < end / 2; ++i) weights[i] += 2 * weight;
}

// Paints the runs of one mask, row by row from the top.
class Painter {
 public:
  // chroma_weights: one zero per chroma column; zero again after the last finish_chroma.
  Painter(const Picture& picture, const uint8_t* colour, int alpha, uint16_t* chroma_weights)
      : picture_(picture), colour_(colour), alpha_(alpha), weights_(chroma_weights) {
    fill_rgb_adds(colour, alpha, inside_);
    fill_rgb_adds(colour, kFull, outline_);
  }

  // Rows are painted in rising order. `core` are the runs that are not outline, each within one of `runs`.
  void paint_row(int y, const Run* runs, int count, const Run* core, int core_count) {
    for (const Run *run = runs, *inner = core; run != runs + count; ++run) {
      int x = run->begin;
      for (; inner != core + core_count && inner->begin < run->end; ++inner) {
        paint(y, x, inner->begin, false);
        paint(y, inner->begin, inner->end, true);
        x = inner->end;
      }
      paint(y, x, run->end, false);
    }
    if (count > 0) {
      begin_ = std::min(begin_, runs[0].begin);
      end_ = std::max(end_, runs[count - 1].end);
    }
  }

  // Blends the chroma row of row y, which is the last one painted of the rows it serves.
  void finish_chroma(int y) {
    if (begin_ < end_) {
      const int first = begin_ / 2, last = (end_ + 1) / 2, height = picture_.height, width = picture_.width;
      if (width % 2 == 1 && end_ == width) weights_[last - 1] *= 2;  // serves one column instead of two
      const int scale = height % 2 == 1 && y == height - 1 ? 2 : 1;
      for (int c = 1; c < 3; ++c) {
        uint8_t* row = picture_.planes[c] + y / 2 * picture_.strides[c];
        blend_chroma(row + first, weights_ + first, last - first, scale, colour_[c]);
      }
      std::fill(weights_ + first, weights_ + last, uint16_t{0});
    }
    begin_ = kMaxSide;
    end_ = 0;
  }

 private:
  void paint(int y, int begin, int end, bool inside) {
    if (begin >= end) return;
    const int weight = inside ? alpha_ : kFull;
    const uint16_t keep = blend_keep(weight);
    uint8_t* row = picture_.planes[0] + y * picture_.strides[0];
    if (picture_.yuv420) {
      blend_samples(row + begin, end - begin, keep, blend_add(colour_[0], weight));
      add_weight(weights_, begin, end, weight);
    } else {
      blend_rgb(row + 3 * begin, 3 * (end - begin), keep, inside ? inside_ : outline_);
    }
  }

  const Picture& picture_;
  const uint8_t* colour_;
  int alpha_;
  uint16_t* weights_;
  uint16_t inside_[kRgbBytes], outline_[kRgbBytes];
  int begin_ = kMaxSide, end_ = 0;  // columns painted since the last chroma row
};

// All runs of one mask. Lines may hold fewer than max_runs.
struct MaskRuns {
  Run lines;
  int32_t* starts;  // [lines + 1] index of a line's first run
  Run* runs;
  int width, height;  // of the frame

  const Run* begin(int y) const { return runs + starts[y - lines.begin]; }
  int count(int y) const { return starts[y - lines.begin + 1] - starts[y - lines.begin]; }
};

// Writes the common runs of a and b, where b's shrink at both ends unless the frame ends there; returns how many.
int intersect(const Run* a, int a_count, const Run* b, int b_count, int shrink, int width, Run* out) {
  int count = 0;
  for (int i = 0, j = 0; i < a_count && j < b_count;) {
    const int b_begin = b[j].begin == 0 ? 0 : b[j].begin + shrink;
    const int b_end = b[j].end == width ? width : b[j].end - shrink;
    const Run common{std::max(a[i].begin, b_begin), std::min(a[i].end, b_end)};
    if (common.begin < common.end) out[count++] = common;
    if (a[i].end < b_end) {
      ++i;
    } else {
      ++j;
    }
  }
  return count;
}

// Finds the runs of row y around which every frame pixel within the radius is inside, and returns their number: the
// common part of the rows the disc reaches, each with its runs shrunk by the disc's half-width there. `out` and `spare`
// take turns; *core is the one that holds the result.
int erode(const MaskRuns& mask, int y, const int* half_widths, int radius, Run* out, Run* spare, const Run** core) {
  const Run everything{0, mask.width};
  int count = intersect(&everything, 1, mask.begin(y), mask.count(y), half_widths[0], mask.width, out);
  for (int reach = 1; reach <= radius; ++reach) {
    for (const int other : {y - reach, y + reach}) {
      if (other < 0 || other >= mask.height) continue;
      const bool empty = other < mask.lines.begin || other >= mask.lines.end;
      if (empty) {
        count = 0;
      } else {
        count = intersect(out, count, mask.begin(other), mask.count(other), half_widths[reach], mask.width, spare);
        std::swap(out, spare);
      }
    }
  }
  *core = out;
  return count;
}

// Where the parts of the workspace lie, for the largest mask.
struct Layout {
  int64_t runs = 0, eroded = 0, lines = 0, columns = 0;  // in elements

  Layout(const SoftMasks& masks, FrameSize frame, int outline) {
    for (int64_t i = 0; i < masks.count; ++i) {
      const MaskLines rows(masks, i, frame, MaskLines::Direction::kRows);
      const int64_t count = rows.lines().end - rows.lines().begin;
      runs = std::max(runs, count * rows.max_runs());
      eroded = std::max<int64_t>(eroded, int64_t{2 * outline + 1} * rows.max_runs());
      lines = std::max(lines, count);
    }
    columns = (frame.width + 1) / 2;
  }

  int64_t bytes() const {
    return (runs + 2 * eroded) * int64_t{sizeof(Run)} + (lines + 1) * int64_t{sizeof(int32_t)} +
           columns * int64_t{sizeof(uint16_t)};
  }
};

}  // namespace

int64_t overlay_workspace(const SoftMasks& masks, FrameSize frame, int outline) {
  return Layout(masks, frame, outline).bytes();
}

Status overlay(const Picture& picture, const SoftMasks& masks, const OverlayStyle& style, void* workspace,
               int64_t workspace_bytes) {
  const FrameSize frame{picture.height, picture.width};
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  const int radius = style.outline;
  if (style.alpha < 0 || style.alpha > kFull || radius < 0 || radius > kMaxOutline) return Status::kBadArgument;
  const Layout layout(masks, frame, radius);
  if (workspace_bytes < layout.bytes()) return Status::kTooSmall;

  auto* runs = static_cast<Run*>(workspace);
  Run *eroded = runs + layout.runs, *spare = eroded + layout.eroded;
  auto* starts = reinterpret_cast<int32_t*>(spare + layout.eroded);
  auto* weights = reinterpret_cast<uint16_t*>(starts + layout.lines + 1);
  std::fill(weights, weights + layout.columns, uint16_t{0});
  int half_widths[kMaxOutline + 1];
  for (int reach = 0, half = radius; reach <= radius; ++reach) {
    while (half * half + reach * reach > radius * radius) --half;
    half_widths[reach] = half;
  }

  for (int64_t i = masks.count - 1; i >= 0; --i) {
    const MaskLines rows(masks, i, frame, MaskLines::Direction::kRows);
    const MaskRuns mask{rows.lines(), starts, runs, frame.width, frame.height};
    int total = 0;
    for (int y = mask.lines.begin; y < mask.lines.end; ++y) {
      starts[y - mask.lines.begin] = total;
      total += rows.scan(y, runs + total);
    }
    starts[mask.lines.end - mask.lines.begin] = total;

    Painter painter(picture, style.colours + 3 * i, style.alpha, weights);
    for (int y = mask.lines.begin; y < mask.lines.end; ++y) {
      const Run* core = nullptr;
      const int core_count = erode(mask, y, half_widths, radius, eroded, spare, &core);
      painter.paint_row(y, mask.begin(y), mask.count(y), core, core_count);
      const bool last = y % 2 == 1 || y == mask.lines.end - 1;
      if (picture.yuv420 && last) painter.finish_chroma(y);
    }
  }
  return Status::kOk;
}

}  // namespace solo
