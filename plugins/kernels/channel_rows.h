// Maps [pixels, channels] as rows that are wide enough to vectorise, and pieces of rows that fit a cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.h"

namespace solo {

// A lane is one column of the rows; lanes of one channel are `channels` apart.
struct ChannelRows {
  int64_t pixels;
  int64_t channels;

  int64_t numbers() const { return pixels * channels; }
  // Numbers per row, a multiple of the channels: pixels of few channels are taken several at once.
  int64_t width() const { return channels * std::max<int64_t>(1, kWidth / channels); }
  // Numbers per piece, a multiple of the width: few enough to be added up in float.
  int64_t piece() const { return std::max<int64_t>(1, kPiece / width()) * width(); }
  int64_t pieces() const { return (numbers() + piece() - 1) / piece(); }
  // Threads that are worth their start: 30 us, and 140 on a virtual machine where two take 1.5 times as long as one for
  // 700,000 numbers.
  int64_t useful_threads() const { return numbers() >> 19; }
  // Floats from the partial results of a piece, so many kinds of them, to those of the next.
  int64_t step(int64_t kinds) const { return kinds * width() + kGap; }
  bool are_sane() const { return pixels > 0 && channels > 0 && pixels <= int64_t{1} << 31 && channels <= 1 << 20; }

  // Writes the row [width] of what is [channels], which may be its own beginning.
  void repeat(const float* values, float* row) const {
    for (int64_t i = 0; i < width(); ++i) row[i] = values[i % channels];
  }

  // Calls body(channel, rows, lane) for every lane that holds numbers, so many rows of them, in a fixed order. `lane`
  // is where its partial results begin: `partials` are [pieces][kinds][width], step(kinds) apart.
  template <typename Body>
  void for_lanes(const float* partials, int64_t kinds, const Body& body) const {
    const int64_t at_once = width() / channels, per_piece = piece() / channels;
    for (int64_t first = 0; first < pixels; first += per_piece, partials += step(kinds)) {
      const int64_t here = std::min(per_piece, pixels - first);
      for (int64_t k = 0; k < std::min(at_once, here); ++k) {
        const int64_t rows = (here - k + at_once - 1) / at_once;
        for (int64_t c = 0; c < channels; ++c) body(c, rows, partials + k * channels + c);
      }
    }
  }

 private:
  static constexpr int64_t kWidth = 256;
  static constexpr int64_t kPiece = 1 << 17;
};

}  // namespace solo
