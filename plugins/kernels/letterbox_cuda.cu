// One launch; a thread makes four neighbouring pixels of all three channels.
#include "frame_size.h"
#include "launch.cuh"
#include "letterbox_cuda.h"
#include "letterbox_map.h"
#include "picture.cuh"

namespace solo {
namespace {

constexpr int kPixels = 4;  // of a thread
constexpr int kColumns = 64, kLines = 4, kThreads = kColumns * kLines;

// One plane or one colour of an interleaved plane.
struct Channel {
  const uint8_t* samples;
  int64_t stride;
};

// Channels 1 and 2 have the same geometry in all formats.
struct Geometry {
  int step;  // bytes from one sample to the next
  int height, width;
  int64_t pitch_y, pitch_x;
};

struct Source {
  Channel channels[3];
  Geometry first, others;
  Affine maps[3];
};

__device__ const Geometry& geometry_of(const Source& source, int channel) {
  return channel == 0 ? source.first : source.others;
}

__device__ float sample(const Channel& channel, const Geometry& geometry, const Taps& x, const Taps& y) {
  const uint8_t* top = channel.samples + y.first * channel.stride;
  const uint8_t* bottom = channel.samples + y.second * channel.stride;
  const int left = x.first * geometry.step, right = x.second * geometry.step;
  const float upper = interpolate(top[left], top[right], x.weight);
  const float lower = interpolate(bottom[left], bottom[right], x.weight);
  return interpolate(upper, lower, y.weight);
}

template <typename T>
struct alignas(kPixels * sizeof(T)) Quad {
  T values[kPixels];
};

template <typename T>
__global__ void __launch_bounds__(kThreads) fill(Source source, SoloLetterbox target, bool aligned, T* tensor) {
  const int x = (blockIdx.x * kColumns + threadIdx.x % kColumns) * kPixels;
  const int y = blockIdx.y * kLines + threadIdx.x / kColumns;
  if (x >= target.width || y >= target.height) return;
  Quad<T> out[3];
#pragma unroll
  for (auto& quad : out) {
#pragma unroll
    for (T& value : quad.values) value = from_float<T>(0.0f);
  }
  if (y < target.resized_height) {
    const Taps rows[2] = {make_taps(y, source.first.pitch_y, source.first.height),
                          make_taps(y, source.others.pitch_y, source.others.height)};
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      if (x + i >= target.resized_width) break;
      const Taps columns[2] = {make_taps(x + i, source.first.pitch_x, source.first.width),
                               make_taps(x + i, source.others.pitch_x, source.others.width)};
      float samples[3];
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        samples[c] = sample(source.channels[c], geometry_of(source, c), columns[c > 0], rows[c > 0]);
      }
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        out[c].values[i] = from_float<T>(apply(source.maps[c], samples[0], samples[1], samples[2]));
      }
    }
  }
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    T* to = tensor + (int64_t{c} * target.height + y) * target.width + x;
    if (aligned) {
      *reinterpret_cast<Quad<T>*>(to) = out[c];
    } else {
      for (int i = 0; i < kPixels && x + i < target.width; ++i) to[i] = out[c].values[i];
    }
  }
}

Source make_source(const SoloPicture& picture, const SoloLetterbox& target) {
  Source source{};
  const double scale_y = static_cast<double>(picture.height) / target.resized_height;
  const double scale_x = static_cast<double>(picture.width) / target.resized_width;
  const bool yuv = is_yuv(picture), nv12 = picture.format == SOLO_NV12;
  source.first = {yuv ? 1 : 3, picture.height, picture.width, tap_pitch(scale_y), tap_pitch(scale_x)};
  source.others = source.first;
  if (yuv) {
    source.others = {nv12 ? 2 : 1, (picture.height + 1) / 2, (picture.width + 1) / 2, tap_pitch(scale_y / 2),
                     tap_pitch(scale_x / 2)};
  }
  for (int c = 0; c < 3; ++c) {
    const int plane = !yuv ? 0 : nv12 ? (c + 1) / 2 : c;
    const int offset = !yuv ? c : nv12 && c == 2 ? 1 : 0;
    source.channels[c] = {picture.planes[plane] + offset, picture.strides[plane]};
  }
  make_affine(yuv, {target.bt709 != 0, target.full_range != 0}, target.mean, target.std, source.maps);
  return source;
}

int check(const SoloPicture& picture, const SoloLetterbox& target) {
  for (const int side : {picture.height, picture.width, target.height, target.width}) {
    if (side < 1 || side > kMaxSide) return SOLO_BAD_SIZE;
  }
  if (target.resized_height < 1 || target.resized_width < 1) return SOLO_BAD_SIZE;
  if (target.resized_height > target.height || target.resized_width > target.width) return SOLO_BAD_SIZE;
  for (const float std : target.std) {
    if (!(std > 0)) return SOLO_BAD_ARGUMENT;
  }
  return picture.format < SOLO_RGB || picture.format > SOLO_NV12 ? SOLO_BAD_ARGUMENT : SOLO_OK;
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_letterbox(const SoloPicture* picture, const SoloLetterbox* target, void* tensor, void* stream) {
  int status = check(*picture, *target);
  if (status != SOLO_OK) return status;
  const Source source = make_source(*picture, *target);
  const dim3 grid(static_cast<unsigned>(ceil_div(target->width, kColumns * kPixels)),
                  static_cast<unsigned>(ceil_div(target->height, kLines)));
  const bool known = with_type(target->type, [&](auto zero) {
    using T = decltype(zero);
    const bool aligned = is_aligned(tensor) && target->width % kPixels == 0;
    status = launch(fill<T>, grid, kThreads, stream, source, *target, aligned, static_cast<T*>(tensor));
  });
  return known ? status : SOLO_BAD_ARGUMENT;
}
