#include <algorithm>
#include <memory>
#include <vector>

#include "grid_axis.h"
#include "mask_refine.h"

namespace solo {
namespace {

constexpr int kChannels = 3;
constexpr double kWeight = 0.05 * 255;  // of the evidence, in samples
constexpr float kMost = 127.0f;         // that evidence counts for, so that none does not become half
constexpr double kNoise = 36.0;         // variance of a channel that is always there
constexpr uint8_t kVisible = 227;       // samples from here on hold pixels, whatever is around: 227 * 0.75^2 > 127.5

// Pixels of 2 x 2, only those of one rectangle.
struct Guide {
  const uint8_t* planes[kChannels];
  int64_t strides[kChannels];
  std::unique_ptr<uint8_t[]> made;
};

struct Rectangle {
  int x0, y0, x1, y1;
};

// Averages 2 x 2 pixels of one of `Step` interleaved channels; the last ones of odd sizes count twice.
template <int Step>
void halve(const uint8_t* plane, int64_t stride, FrameSize frame, const Rectangle& part, uint8_t* half,
           int64_t half_stride) {
  for (int y = part.y0; y < part.y1; ++y) {
    const uint8_t* upper = plane + int64_t{2} * y * stride;
    const uint8_t* lower = 2 * y + 1 < frame.height ? upper + stride : upper;
    uint8_t* out = half + y * half_stride;
    const int whole = std::min(part.x1, frame.width / 2);
    for (int x = part.x0; x < whole; ++x) {
      const int left = 2 * x * Step, right = left + Step;
      out[x] = static_cast<uint8_t>((upper[left] + upper[right] + lower[left] + lower[right] + 2) >> 2);
    }
    for (int x = whole; x < part.x1; ++x) {
      out[x] = static_cast<uint8_t>((upper[2 * x * Step] + lower[2 * x * Step] + 1) >> 1);
    }
  }
}

Guide make_guide(const ConstPicture& picture, const Rectangle& part) {
  const int64_t width = (picture.width + 1) / 2, size = width * ((picture.height + 1) / 2);
  const FrameSize frame{picture.height, picture.width};
  Guide guide{};
  guide.made.reset(new uint8_t[picture.yuv420 ? size : kChannels * size]);  // untouched parts never become memory
  for (int c = 0; c < kChannels; ++c) {
    if (picture.yuv420 && c > 0) {
      guide.planes[c] = picture.planes[c];
      guide.strides[c] = picture.strides[c];
      continue;
    }
    uint8_t* plane = guide.made.get() + c * size;
    const auto make = picture.yuv420 ? halve<1> : halve<kChannels>;
    make(picture.planes[0] + (picture.yuv420 ? 0 : c), picture.strides[0], frame, part, plane, width);
    guide.planes[c] = plane;
    guide.strides[c] = width;
  }
  return guide;
}

// Pixels of 2 x 2 in one cell, and sums over them.
struct Colours {
  int32_t count = -1;       // until they are summed up
  uint32_t sum[kChannels];  // of kMaxCells^2 pixels at most, less than 2^32
  int64_t squares[kChannels];
};

struct Coefficients {
  float values[kChannels + 1];  // of the channels, and the constant
};

// One side of the refined grid laid over that of a mask, for the cells first <= c < end.
class Side {
 public:
  Side(int cells, double step, int pixels, int first, int end)
      : axis_(make_axis(cells, 2 * step)), count_((pixels + 1) / 2), first_(first), end_(end) {}

  const Axis& axis() const { return axis_; }
  // First pixel that lies at a cell or behind it; that of the cell behind the last one ends the mask.
  int pixel_at(int cell) const {
    return cell < axis_.cells ? clip(axis_.first_pixel(int64_t{cell} * Axis::kOne)) : count_;
  }
  int begin() const { return pixel_at(first_ - 1); }
  int end() const { return pixel_at(end_); }
  // First pixel that is nearest to a cell.
  int nearest_to(int cell) const {
    return cell < axis_.cells ? clip(axis_.first_pixel(int64_t{cell} * Axis::kOne - Axis::kOne / 2)) : count_;
  }

 private:
  int clip(int64_t pixel) const { return static_cast<int>(std::min<int64_t>(pixel, count_)); }

  Axis axis_;
  int count_, first_, end_;
};

struct Sides {
  Side x, y;
};

Sides sides_of(const SoftMasks& masks, int64_t i, FrameSize frame) {
  const int32_t* region = masks.regions + 4 * i;
  return {Side(masks.grid_width, masks.step_x, frame.width, region[0], region[2]),
          Side(masks.grid_height, masks.step_y, frame.height, region[1], region[3])};
}

// One mask on its way. Cells are counted in its region with two more on every side, where samples are 0.
class Refinement {
 public:
  static constexpr int kMargin = 2;

  Refinement(const SoftMasks& masks, int64_t index, FrameSize frame)
      : sides_(sides_of(masks, index, frame)),
        left_(masks.regions[4 * index] - kMargin),
        top_(masks.regions[4 * index + 1] - kMargin),
        width_(masks.regions[4 * index + 2] + kMargin - left_),
        height_(masks.regions[4 * index + 3] + kMargin - top_),
        samples_(int64_t{width_} * height_),
        mixed_(samples_.size()),
        colours_(samples_.size()),
        coefficients_(samples_.size()) {
    const int inner = width_ - 2 * kMargin;
    const uint8_t* data = masks.data + masks.offsets[index];
    for (int y = kMargin; y < height_ - kMargin; ++y) {
      std::copy_n(data + int64_t{y - kMargin} * inner, inner, &samples_[at(kMargin, y)]);
    }
  }

  void learn(const Guide& guide) {
    for (int y = 1; y < height_ - 1; ++y) {
      for (int x = 1; x < width_ - 1; ++x) {
        if (is_mixed(x, y)) fit(guide, x, y);
      }
    }
  }

  void write(const Guide& guide, const int32_t* region, uint8_t* out) const {
    std::vector<int32_t> samples(width_);
    std::vector<Coefficients> coefficients(width_);
    std::vector<char> mixed(width_);
    const int length = region[2] - region[0];
    std::vector<int32_t> fractions(length);  // of the pixels of a row, between their cells
    for (int i = 0; i < length; ++i) fractions[i] = sides_.x.axis().position(region[0] + i) & (Axis::kOne - 1);
    uint8_t* const data = out;
    for (int y = region[1]; y < region[3]; ++y, out += length) {
      const int32_t position = sides_.y.axis().position(y), fraction = position & (Axis::kOne - 1);
      const int row = (position >> Axis::kBits) - top_;
      const float part = static_cast<float>(fraction) / Axis::kOne;
      for (int x = 0; x < width_; ++x) {
        const int64_t near = at(x, row), far = at(x, std::min(row + 1, height_ - 1));
        samples[x] = (Axis::kOne - fraction) * samples_[near] + fraction * samples_[far];
        mixed[x] = mixed_[near] | mixed_[far];
        if (!mixed[x]) continue;
        for (int c = 0; c <= kChannels; ++c) {
          const float upper = coefficients_[near].values[c], lower = coefficients_[far].values[c];
          coefficients[x].values[c] = upper + part * (lower - upper);
        }
      }
      static constexpr Coefficients kNone{};
      int first = region[0];
      for (int x = 0; x + 1 < width_ && first < region[2]; ++x) {
        const int end = std::min(sides_.x.pixel_at(left_ + x + 1), region[2]);
        const bool is_sure = samples[x] == samples[x + 1] && (samples[x] == 0 || samples[x] == 255 * Axis::kOne);
        if ((mixed[x] || mixed[x + 1]) && !is_sure) {
          const uint8_t* pixels[kChannels];
          for (int c = 0; c < kChannels; ++c) pixels[c] = guide.planes[c] + y * guide.strides[c] + first;
          refine(pixels, &fractions[first - region[0]], end - first, samples[x], samples[x + 1],
                 mixed[x] ? coefficients[x] : kNone, mixed[x + 1] ? coefficients[x + 1] : kNone,
                 out + (first - region[0]));
        } else {
          interpolate(&fractions[first - region[0]], end - first, samples[x], samples[x + 1],
                      out + (first - region[0]));
        }
        first = std::max(first, end);
      }
    }
    uint8_t highest = 0;
    for (const uint8_t* sample = data; sample != out; ++sample) highest = std::max(highest, *sample);
    if (highest < kVisible) *std::find(data, out, highest) = 255;
  }

 private:
  int64_t at(int x, int y) const { return int64_t{y} * width_ + x; }
  bool in_grid(int x, int y) const {
    return x + left_ >= 0 && y + top_ >= 0 && x + left_ < sides_.x.axis().cells && y + top_ < sides_.y.axis().cells;
  }

  bool is_mixed(int x, int y) const {
    int inside = 0, cells = 0;
    for (int v = y - 1; v <= y + 1; ++v) {
      for (int u = x - 1; u <= x + 1; ++u) {
        if (!in_grid(u, v)) continue;
        inside += samples_[at(u, v)] >> 7;
        ++cells;
      }
    }
    return inside > 0 && inside < cells && in_grid(x, y);
  }

  const Colours& colours(const Guide& guide, int x, int y) {
    Colours& found = colours_[at(x, y)];
    if (found.count >= 0) return found;
    found = {};
    const int x0 = sides_.x.nearest_to(left_ + x), x1 = sides_.x.nearest_to(left_ + x + 1);
    const int y0 = sides_.y.nearest_to(top_ + y), y1 = sides_.y.nearest_to(top_ + y + 1);
    found.count = (x1 - x0) * (y1 - y0);
    for (int c = 0; c < kChannels; ++c) {
      for (int v = y0; v < y1; ++v) {
        const uint8_t* pixels = guide.planes[c] + v * guide.strides[c];
        int32_t sum = 0, squares = 0;  // of a row, whose kMaxCells pixels at most they can hold
        for (int u = x0; u < x1; ++u) {
          sum += pixels[u];
          squares += pixels[u] * pixels[u];
        }
        found.sum[c] += sum;
        found.squares[c] += squares;
      }
    }
    return found;
  }

  void fit(const Guide& guide, int x, int y) {
    double count = 0, inside = 0, sums[kChannels]{}, shares[kChannels]{}, squares[kChannels]{};
    for (int v = y - 1; v <= y + 1; ++v) {
      for (int u = x - 1; u <= x + 1; ++u) {
        if (!in_grid(u, v)) continue;
        const Colours& cell = colours(guide, u, v);
        const double share = samples_[at(u, v)] / 255.0;
        count += cell.count;
        inside += share * cell.count;
        for (int c = 0; c < kChannels; ++c) {
          sums[c] += cell.sum[c];
          shares[c] += share * cell.sum[c];
          squares[c] += cell.squares[c];
        }
      }
    }
    const double outside = count - inside;
    if (inside <= 0 || outside <= 0) return;  // all of one side lies beyond the frame
    double constant = 0;
    Coefficients& fitted = coefficients_[at(x, y)];
    for (int c = 0; c < kChannels; ++c) {
      const double f = shares[c] / inside, b = (sums[c] - shares[c]) / outside;
      const double variance = std::max((squares[c] - f * f * inside - b * b * outside) / count, 0.0) + kNoise;
      fitted.values[c] = static_cast<float>(kWeight * 2 * (f - b) / variance);
      constant += kWeight * (b * b - f * f) / variance;
    }
    fitted.values[kChannels] = static_cast<float>(constant);
    mixed_[at(x, y)] = 1;
  }

  static void interpolate(const int32_t* fractions, int count, int32_t before, int32_t after, uint8_t* out) {
    if (before == after) {
      std::fill_n(out, std::max(count, 0), round(before * Axis::kOne));
      return;
    }
    for (int i = 0; i < count; ++i) out[i] = round((Axis::kOne - fractions[i]) * before + fractions[i] * after);
  }

  static uint8_t round(int32_t value) {
    return static_cast<uint8_t>((value + (1 << (2 * Axis::kBits - 1)) - 1) >> 2 * Axis::kBits);
  }

  static void refine(const uint8_t* const* pixels, const int32_t* fractions, int count, int32_t before, int32_t after,
                     const Coefficients& left, const Coefficients& right, uint8_t* out) {
    Coefficients rise;
    for (int c = 0; c <= kChannels; ++c) rise.values[c] = right.values[c] - left.values[c];
    for (int i = 0; i < count; ++i) {
      const int32_t g = fractions[i];
      const float t = static_cast<float>(g) * (1.0f / Axis::kOne);
      float evidence = left.values[kChannels] + t * rise.values[kChannels];
      for (int c = 0; c < kChannels; ++c) {
        evidence += (left.values[c] + t * rise.values[c]) * static_cast<float>(pixels[c][i]);
      }
      const auto sample = static_cast<float>((Axis::kOne - g) * before + g * after) * 0x1p-22f;
      const float value = sample + std::min(std::max(evidence, -kMost), kMost) + 0.5f;
      out[i] = static_cast<uint8_t>(std::min(std::max(value, 0.0f), 255.0f));
    }
  }

  Sides sides_;
  int left_, top_, width_, height_;  // cells of the grid
  std::vector<uint8_t> samples_;
  std::vector<char> mixed_;
  std::vector<Colours> colours_;
  std::vector<Coefficients> coefficients_;
};

}  // namespace

Status refined_regions(const SoftMasks& masks, FrameSize frame, int32_t* regions, int64_t* offsets) {
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  if (std::max(frame.height, frame.width) > 2 * kMaxCells) return Status::kBadSize;
  offsets[0] = 0;
  for (int64_t i = 0; i < masks.count; ++i, regions += 4) {
    const Sides sides = sides_of(masks, i, frame);
    const int x0 = sides.x.begin(), y0 = sides.y.begin(), x1 = sides.x.end(), y1 = sides.y.end();
    const bool is_empty = masks.offsets[i] == masks.offsets[i + 1] || x0 >= x1 || y0 >= y1;
    regions[0] = is_empty ? 0 : x0;
    regions[1] = is_empty ? 0 : y0;
    regions[2] = is_empty ? 0 : x1;
    regions[3] = is_empty ? 0 : y1;
    offsets[i + 1] = offsets[i] + int64_t{regions[2] - regions[0]} * (regions[3] - regions[1]);
  }
  return Status::kOk;
}

Status refine_masks(const ConstPicture& picture, const SoftMasks& masks, const int32_t* regions, const int64_t* offsets,
                    uint8_t* data) {
  const FrameSize frame{picture.height, picture.width};
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  // Colours are summed up in cells around a mask, too.
  Rectangle seen{kMaxCells, kMaxCells, 0, 0};
  for (int64_t i = 0; i < masks.count; ++i) {
    if (offsets[i] == offsets[i + 1]) continue;
    const Sides sides = sides_of(masks, i, frame);
    const int32_t* region = masks.regions + 4 * i;
    seen.x0 = std::min(seen.x0, sides.x.nearest_to(region[0] - Refinement::kMargin));
    seen.y0 = std::min(seen.y0, sides.y.nearest_to(region[1] - Refinement::kMargin));
    seen.x1 = std::max(seen.x1, sides.x.nearest_to(region[2] + Refinement::kMargin));
    seen.y1 = std::max(seen.y1, sides.y.nearest_to(region[3] + Refinement::kMargin));
  }
  const Guide guide = make_guide(picture, seen);
  for (int64_t i = 0; i < masks.count; ++i) {
    if (offsets[i] == offsets[i + 1]) continue;
    Refinement one(masks, i, frame);
    one.learn(guide);
    one.write(guide, regions + 4 * i, data + offsets[i]);
  }
  return Status::kOk;
}

}  // namespace solo
