#include <algorithm>

#include "depthwise_conv.h"
#include "passes.h"

namespace solo {
namespace {

constexpr int64_t kPiece = 1 << 17;      // numbers of dy that are added up in float
constexpr int64_t kPerThread = 1 << 17;  // numbers written that outweigh the start of a thread (about 30 us)

enum class Pass { kForward, kInput, kWeights };

int64_t partials_step(const DepthwiseConv& conv) { return kTaps * conv.channels + kGap; }

template <typename T>
struct Job {
  DepthwiseConv conv;
  int64_t rows;  // of dy that are one piece of the gradient of the weights
  const T* x;
  const T* dy;             // backward only
  T* out;                  // y or dx
  const float* taps;       // [kTaps][channels]
  const T* zeros;          // [channels], what is read outside
  const int32_t* columns;  // [out_width][3] what three taps read of a row of x, [width][3] where x was brought to
  float* partials;         // [pieces][kTaps][channels] and a gap
};

// The numbers that the taps meet at one place, `count` of them: others are outside, and 0.
template <typename T>
struct Met {
  const T* at[kTaps];
  const float* weights[kTaps];
  int count = 0;

  SOLO_INLINE void add(const T* numbers, const float* taps) {
    at[count] = numbers;
    weights[count++] = taps;
  }
};

// What a tap, 0 to 2 along one side, reads of x for y at `place`, or -1.
SOLO_INLINE int64_t read_at(const DepthwiseConv& conv, int64_t place, int64_t tap, int64_t side) {
  const int64_t read = place * conv.stride - conv.padding + tap * conv.dilation;
  return read < side ? std::max<int64_t>(read, -1) : -1;
}

// What of dy a tap, 0 to 2 along one side, brought x at `place` to, or -1.
SOLO_INLINE int64_t written_at(const DepthwiseConv& conv, int64_t place, int64_t tap, int64_t side) {
  const int64_t moved = place + conv.padding - tap * conv.dilation;
  return moved >= 0 && moved % conv.stride == 0 && moved / conv.stride < side ? moved / conv.stride : -1;
}

template <int kCount, typename T>
SOLO_INLINE void add_up(const Met<T>& met, int64_t channels, T* __restrict out) {
  for (int64_t i = 0; i < channels; ++i) {
    float sum = 0.0f;
    for (int tap = 0; tap < kCount; ++tap) sum += widen(met.at[tap][i]) * met.weights[tap][i];
    narrow(sum, out + i);
  }
}

template <typename T>
SOLO_INLINE void add_up(const Met<T>& met, int64_t channels, T* __restrict out) {
  switch (met.count) {
    case 9:
      return add_up<9>(met, channels, out);
    case 6:
      return add_up<6>(met, channels, out);
    case 4:
      return add_up<4>(met, channels, out);
    case 3:
      return add_up<3>(met, channels, out);
    case 2:
      return add_up<2>(met, channels, out);
    case 1:
      return add_up<1>(met, channels, out);
    default:  // nothing
      return add_up<0>(met, channels, out);
  }
}

// Writes a row of y or dx from what `from` and the taps meet; `columns` are the places of three taps for each pixel.
template <typename T>
SOLO_INLINE void write_row(const Job<T>& job, const T* from, const int64_t* rows, int64_t width, int64_t pixels,
                           const int32_t* columns, T* out) {
  const int64_t channels = job.conv.channels;
  for (int64_t x = 0; x < pixels; ++x, columns += 3, out += channels) {
    Met<T> met;
    for (int down = 0; down < 3; ++down) {
      for (int right = 0; right < 3; ++right) {
        if (rows[down] < 0 || columns[right] < 0) continue;
        met.add(from + (rows[down] * width + columns[right]) * channels, job.taps + (3 * down + right) * channels);
      }
    }
    add_up(met, channels, out);
  }
}

// Adds to sums [3][channels] of three taps in a row.
template <typename T>
SOLO_INLINE void add_products(const T* const* met, const T* dy, int64_t channels, float* __restrict sums) {
  const T *a = met[0], *b = met[1], *c = met[2];
  float* __restrict first = sums;
  float* __restrict second = sums + channels;
  float* __restrict third = sums + 2 * channels;
  for (int64_t i = 0; i < channels; ++i) {
    const float gradient = widen(dy[i]);
    first[i] += gradient * widen(a[i]);
    second[i] += gradient * widen(b[i]);
    third[i] += gradient * widen(c[i]);
  }
}

// A piece is a row of what is written, or some rows of dy of which the products are added up.
template <typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  const DepthwiseConv& conv = job.conv;
  const int64_t channels = conv.channels, height = conv.out_height(), width = conv.out_width();
  int64_t rows[3];
  if (pass == Pass::kForward) {
    for (int tap = 0; tap < 3; ++tap) rows[tap] = read_at(conv, piece % height, tap, conv.height);
    const T* from = job.x + piece / height * conv.height * conv.width * channels;
    write_row(job, from, rows, conv.width, width, job.columns, job.out + piece * width * channels);
  } else if (pass == Pass::kInput) {
    for (int tap = 0; tap < 3; ++tap) rows[tap] = written_at(conv, piece % conv.height, tap, height);
    const T* from = job.dy + piece / conv.height * height * width * channels;
    write_row(job, from, rows, width, conv.width, job.columns + 3 * width, job.out + piece * conv.width * channels);
  } else {
    float* sums = job.partials + piece * partials_step(conv);
    std::fill_n(sums, kTaps * channels, 0.0f);
    for (int64_t row = piece * job.rows; row < std::min((piece + 1) * job.rows, conv.batch * height); ++row) {
      const T* dy = job.dy + row * width * channels;
      const T* from = job.x + row / height * conv.height * conv.width * channels;
      for (int64_t tap = 0; tap < 3; ++tap) rows[tap] = read_at(conv, row % height, tap, conv.height);
      for (int64_t x = 0; x < width; ++x, dy += channels) {
        for (int down = 0; down < 3; ++down) {
          if (rows[down] < 0) continue;
          const T* met[3];
          for (int right = 0; right < 3; ++right) {
            const int32_t column = job.columns[3 * x + right];
            met[right] = column < 0 ? job.zeros : from + (rows[down] * conv.width + column) * channels;
          }
          add_products(met, dy, channels, sums + 3 * down * channels);
        }
      }
    }
  }
}

template <typename T>
void run_all(const Job<T>& job, Pass pass, int64_t pieces, int threads, Isa isa) {
  const DepthwiseConv& conv = job.conv;
  const int64_t numbers = conv.batch * conv.out_height() * conv.out_width() * conv.channels;
  run_pieces(job, pass, pieces, numbers / kPerThread, threads, isa);
}

int64_t rows_of(const DepthwiseConv& conv) { return std::max<int64_t>(1, kPiece / (conv.out_width() * conv.channels)); }

int64_t pieces_of(const DepthwiseConv& conv) {
  return (conv.batch * conv.out_height() + rows_of(conv) - 1) / rows_of(conv);
}

// Lays out the workspace: taps, zeros, columns, partial sums.
template <typename T>
Job<T> make_job(const DepthwiseConv& conv, const T* x, const T* dy, T* out, void* workspace) {
  const int64_t channels = conv.channels;
  auto* taps = static_cast<float*>(workspace);
  for (int64_t c = 0; c < channels; ++c) {
    for (int tap = 0; tap < kTaps; ++tap) taps[tap * channels + c] = conv.weights[c * kTaps + tap];
  }
  float* zeros = taps + kTaps * channels;
  std::fill_n(zeros, channels, 0.0f);
  auto* columns = reinterpret_cast<int32_t*>(zeros + channels);
  const int64_t width = conv.out_width();
  for (int64_t tap = 0; tap < 3; ++tap) {
    for (int64_t i = 0; i < width; ++i) columns[3 * i + tap] = static_cast<int32_t>(read_at(conv, i, tap, conv.width));
    for (int64_t i = 0; i < conv.width; ++i) {
      columns[3 * (width + i) + tap] = static_cast<int32_t>(written_at(conv, i, tap, width));
    }
  }
  auto* partials = reinterpret_cast<float*>(columns + 3 * (width + conv.width));
  return {conv, rows_of(conv), x, dy, out, taps, reinterpret_cast<const T*>(zeros), columns, partials};
}

Status check_call(const DepthwiseConv& conv, int threads, Isa isa, int64_t workspace_bytes) {
  const int64_t needed = depthwise_conv_workspace(conv);
  if (needed < 0) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  return workspace_bytes < needed ? Status::kTooSmall : Status::kOk;
}

}  // namespace

int64_t depthwise_conv_workspace(const DepthwiseConv& conv) {
  constexpr int64_t kMost = 1 << 20;
  for (const int64_t size : {conv.batch, conv.height, conv.width, conv.channels, conv.stride, conv.dilation}) {
    if (size < 1 || size > kMost) return -1;
  }
  if (conv.padding < 0 || conv.padding > kMost) return -1;
  const int64_t spread = 2 * conv.dilation + 1 - 2 * conv.padding;
  if (conv.height < spread || conv.width < spread) return -1;
  const int64_t columns = 3 * (conv.width + conv.out_width());
  const int64_t partials = pieces_of(conv) * partials_step(conv);
  return ((kTaps + 1) * conv.channels + columns + partials) * static_cast<int64_t>(sizeof(float));
}

template <typename T>
Status depthwise_conv(const DepthwiseConv& conv, const T* x, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, T* y) {
  if (const Status status = check_call(conv, threads, isa, workspace_bytes); status != Status::kOk) return status;
  const Job<T> job = make_job<T>(conv, x, nullptr, y, workspace);
  run_all(job, Pass::kForward, conv.batch * conv.out_height(), threads, isa);
  return Status::kOk;
}

template <typename T>
Status depthwise_conv_gradient(const DepthwiseConv& conv, const T* x, const T* dy, int threads, Isa isa,
                               void* workspace, int64_t workspace_bytes, T* dx, float* dweights) {
  if (const Status status = check_call(conv, threads, isa, workspace_bytes); status != Status::kOk) return status;
  const Job<T> job = make_job<T>(conv, x, dy, dx, workspace);
  run_all(job, Pass::kInput, conv.batch * conv.height, threads, isa);
  run_all(job, Pass::kWeights, pieces_of(conv), threads, isa);
  for (int64_t c = 0; c < conv.channels; ++c) {
    for (int tap = 0; tap < kTaps; ++tap) {
      double sum = 0;
      for (int64_t piece = 0; piece < pieces_of(conv); ++piece) {
        sum += static_cast<double>(job.partials[piece * partials_step(conv) + tap * conv.channels + c]);
      }
      dweights[c * kTaps + tap] = static_cast<float>(sum);
    }
  }
  return Status::kOk;
}

template Status depthwise_conv(const DepthwiseConv&, const float*, int, Isa, void*, int64_t, float*);
template Status depthwise_conv(const DepthwiseConv&, const Bfloat16*, int, Isa, void*, int64_t, Bfloat16*);
template Status depthwise_conv_gradient(const DepthwiseConv&, const float*, const float*, int, Isa, void*, int64_t,
                                        float*, float*);
template Status depthwise_conv_gradient(const DepthwiseConv&, const Bfloat16*, const Bfloat16*, int, Isa, void*,
                                        int64_t, Bfloat16*, float*);

}  // namespace solo
