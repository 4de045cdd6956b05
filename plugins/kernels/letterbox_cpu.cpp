#include <algorithm>

#include "letterbox.h"
#include "letterbox_map.h"
#include "target_clones.h"

namespace solo {
namespace {

constexpr int kTile = 256;  // columns that are resized together; their tables and rows stay in the first-level cache

// One plane or one colour of an interleaved plane.
struct Channel {
  const uint8_t* samples;
  int64_t stride;
  int step;  // bytes from one sample to the next
  int height, width;
  int64_t pitch_y, pitch_x;
};

struct TileTaps {
  int first[kTile], second[kTile];  // in bytes
  float weight[kTile];
  bool adjacent;  // whether every second sample is the byte behind the first
};

void prepare_taps(const Channel& channel, int begin, int count, TileTaps* tile) {
  tile->adjacent = channel.step == 1 && channel.width > 1;
  for (int i = 0; i < count; ++i) {
    Taps x = make_taps(begin + i, channel.pitch_x, channel.width);
    if (tile->adjacent && x.first == x.second) {  // at an edge: the same value by the neighbour, for nothing or in full
      x.weight = x.first == 0 ? 0.0F : 1.0F;
      x.first = std::min(x.first, channel.width - 2);
    }
    tile->first[i] = x.first * channel.step;
    tile->second[i] = x.second * channel.step;
    tile->weight[i] = x.weight;
  }
}

// The two samples of a row for each column, the second in the upper byte.
void gather(const uint8_t* row, const TileTaps& tile, int count, uint16_t* pairs) {
  if (tile.adjacent) {  // compilers load both at once
    for (int i = 0; i < count; ++i) {
      const uint8_t* at = row + tile.first[i];
      pairs[i] = static_cast<uint16_t>(at[0] | at[1] << 8);
    }
  } else {
    for (int i = 0; i < count; ++i) pairs[i] = static_cast<uint16_t>(row[tile.first[i]] | row[tile.second[i]] << 8);
  }
}

SOLO_CLONES void mix(const uint16_t* top, const uint16_t* bottom, const float* weights, float weight, int count,
                     float* out) {
  for (int i = 0; i < count; ++i) {
    const float upper = interpolate(top[i] & 255, top[i] >> 8, weights[i]);
    const float lower = interpolate(bottom[i] & 255, bottom[i] >> 8, weights[i]);
    out[i] = interpolate(upper, lower, weight);
  }
}

void resize_row(const Channel& channel, int y, const TileTaps& tile, int count, float* out) {
  const Taps rows = make_taps(y, channel.pitch_y, channel.height);
  uint16_t top[kTile], bottom[kTile];
  gather(channel.samples + rows.first * channel.stride, tile, count, top);
  gather(channel.samples + rows.second * channel.stride, tile, count, bottom);
  mix(top, bottom, tile.weight, rows.weight, count, out);
}

SOLO_CLONES void convert_row(const Affine& map, const float* a, const float* b, const float* c, int count, float* out) {
  const Affine local = map;  // `out` cannot be it
  for (int i = 0; i < count; ++i) out[i] = apply(local, a[i], b[i], c[i]);
}

void make_channels(const ConstPicture& picture, const LetterboxTarget& target, Channel channels[3]) {
  const double scale_y = static_cast<double>(picture.height) / target.resized_height;
  const double scale_x = static_cast<double>(picture.width) / target.resized_width;
  // A chroma axis has half the luma's scale even where its size was rounded up.
  const int64_t pitch_y = tap_pitch(scale_y), pitch_x = tap_pitch(scale_x);
  const int64_t half_y = tap_pitch(scale_y / 2), half_x = tap_pitch(scale_x / 2);
  for (int c = 0; c < 3; ++c) {
    if (!picture.yuv420) {
      channels[c] = {picture.planes[0] + c, picture.strides[0], 3, picture.height, picture.width, pitch_y, pitch_x};
    } else if (c == 0) {
      channels[c] = {picture.planes[0], picture.strides[0], 1, picture.height, picture.width, pitch_y, pitch_x};
    } else {
      const int height = (picture.height + 1) / 2, width = (picture.width + 1) / 2;
      channels[c] = {picture.planes[c], picture.strides[c], 1, height, width, half_y, half_x};
    }
  }
}

void pad(const LetterboxTarget& target) {
  for (int c = 0; c < 3; ++c) {
    float* plane = target.tensor + int64_t{c} * target.height * target.width;
    for (int y = 0; y < target.resized_height; ++y) {
      float* row = plane + int64_t{y} * target.width;
      std::fill(row + target.resized_width, row + target.width, 0.0F);
    }
    std::fill(plane + int64_t{target.resized_height} * target.width, plane + int64_t{target.height} * target.width,
              0.0F);
  }
}

}  // namespace

Status letterbox(const ConstPicture& picture, ColourSpace space, const LetterboxTarget& target) {
  if (picture.height < 1 || picture.width < 1 || target.resized_height < 1 || target.resized_width < 1 ||
      target.resized_height > target.height || target.resized_width > target.width) {
    return Status::kBadSize;
  }
  for (const float std : target.std) {
    if (!(std > 0)) return Status::kBadArgument;
  }
  Affine maps[3];
  make_affine(picture.yuv420, space, target.mean, target.std, maps);
  Channel channels[3];
  make_channels(picture, target, channels);

  TileTaps tiles[3];
  float rows[3][kTile];
  for (int begin = 0; begin < target.resized_width; begin += kTile) {
    const int count = std::min(kTile, target.resized_width - begin);
    for (int c = 0; c < 3; ++c) prepare_taps(channels[c], begin, count, &tiles[c]);
    for (int y = 0; y < target.resized_height; ++y) {
      for (int c = 0; c < 3; ++c) resize_row(channels[c], y, tiles[c], count, rows[c]);
      for (int c = 0; c < 3; ++c) {
        float* out = target.tensor + (int64_t{c} * target.height + y) * target.width + begin;
        convert_row(maps[c], rows[0], rows[1], rows[2], count, out);
      }
    }
  }
  pad(target);
  return Status::kOk;
}

}  // namespace solo
