#include <algorithm>
#include <cmath>

#include "batch_norm.h"
#include "passes.h"

namespace solo {
namespace {

constexpr int64_t kWidth = 256;  // numbers that a row has at least: pixels of few channels are taken several at once
constexpr int64_t kPiece = 1 << 17;  // numbers of a piece: few enough to be added up in float
constexpr int64_t kCentreRows = 16;
constexpr int64_t kPerThread = 1 << 18;  // numbers that outweigh the start of a thread (about 30 us)

enum class Pass { kSum, kNormalise, kSumGradients, kDescend };

// One call: where its numbers are. A lane is one column of the rows; lanes of one channel are `channels` apart.
template <typename T>
struct Job {
  BatchNorm norm;
  int64_t width;  // numbers per row, a multiple of the channels
  int64_t piece;  // numbers per piece, a multiple of the width
  const T* x;
  const T* dy;           // backward only
  T* out;                // y or dx
  const float* factors;  // [kFactors][width]: scale, offset; in the gradient also mean, slope and level
  float* partials;       // [pieces][kPartials][width]
};

constexpr int64_t kFactors = 5;
constexpr int64_t kPartials = 3;

int64_t width_of(const BatchNorm& norm) { return norm.channels * std::max<int64_t>(1, kWidth / norm.channels); }
int64_t piece_of(const BatchNorm& norm) { return std::max<int64_t>(1, kPiece / width_of(norm)) * width_of(norm); }
int64_t pieces_of(const BatchNorm& norm) {
  const int64_t piece = piece_of(norm);
  return (norm.pixels * norm.channels + piece - 1) / piece;
}

// Sums of x - centre and of its square. The centre is the mean of the first rows: so near to that of all, the square of
// the one sum takes next to nothing from the other.
template <typename T>
SOLO_INLINE void sum(const T* __restrict x, int64_t count, int64_t width, float* __restrict partials) {
  float* __restrict centre = partials;
  float* __restrict sums = partials + width;
  float* __restrict squares = partials + 2 * width;
  const int64_t rows = std::clamp<int64_t>(count / width, 1, kCentreRows);
  std::fill_n(centre, width, 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) centre[i] += widen(x[row * width + i]);
  }
  for (int64_t i = 0; i < width; ++i) centre[i] /= static_cast<float>(rows);
  std::fill_n(sums, 2 * width, 0.0f);
  for (; count > 0; count -= width, x += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float distance = widen(x[i]) - centre[i];
      sums[i] += distance;
      squares[i] += distance * distance;
    }
  }
}

template <bool kRelu, typename T>
SOLO_INLINE void normalise(const T* __restrict x, int64_t count, int64_t width, const float* __restrict factors,
                           T* __restrict y) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  for (; count > 0; count -= width, x += width, y += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float value = widen(x[i]) * scale[i] + offset[i];
      narrow(kRelu && value < 0.0f ? 0.0f : value, y + i);
    }
  }
}

// The gradient of the normalised number: that of y, where the ReLU let it through.
template <bool kRelu>
SOLO_INLINE float passed(float x, float dy, float scale, float offset) {
  return kRelu && x * scale + offset <= 0.0f ? 0.0f : dy;
}

template <bool kRelu, typename T>
SOLO_INLINE void sum_gradients(const T* __restrict x, const T* __restrict dy, int64_t count, int64_t width,
                               const float* __restrict factors, float* __restrict partials) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  const float* __restrict mean = factors + 2 * width;
  float* __restrict sums = partials;
  float* __restrict products = partials + width;
  std::fill_n(sums, 2 * width, 0.0f);
  for (; count > 0; count -= width, x += width, dy += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float gradient = passed<kRelu>(widen(x[i]), widen(dy[i]), scale[i], offset[i]);
      sums[i] += gradient;
      products[i] += gradient * (widen(x[i]) - mean[i]);
    }
  }
}

template <bool kRelu, typename T>
SOLO_INLINE void descend(const T* __restrict x, const T* __restrict dy, int64_t count, int64_t width,
                         const float* __restrict factors, T* __restrict dx) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  const float* __restrict mean = factors + 2 * width;
  const float* __restrict slope = factors + 3 * width;
  const float* __restrict level = factors + 4 * width;
  for (; count > 0; count -= width, x += width, dy += width, dx += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float gradient = passed<kRelu>(widen(x[i]), widen(dy[i]), scale[i], offset[i]);
      narrow(gradient * scale[i] + (widen(x[i]) - mean[i]) * slope[i] + level[i], dx + i);
    }
  }
}

template <bool kRelu, typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  const int64_t start = piece * job.piece;
  const int64_t count = std::min(job.piece, job.norm.pixels * job.norm.channels - start);
  float* partials = job.partials + piece * kPartials * job.width;
  const T* x = job.x + start;
  switch (pass) {
    case Pass::kSum:
      return sum(x, count, job.width, partials);
    case Pass::kNormalise:
      return normalise<kRelu>(x, count, job.width, job.factors, job.out + start);
    case Pass::kSumGradients:
      return sum_gradients<kRelu>(x, job.dy + start, count, job.width, job.factors, partials);
    case Pass::kDescend:
      return descend<kRelu>(x, job.dy + start, count, job.width, job.factors, job.out + start);
  }
}

template <typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  job.norm.relu ? run<true>(job, pass, piece) : run<false>(job, pass, piece);
}

template <typename T>
void run_all(const Job<T>& job, Pass pass, int threads, Isa isa) {
  run_pieces(job, pass, pieces_of(job.norm), job.norm.pixels * job.norm.channels / kPerThread, threads, isa);
}

// Calls body(channel, rows, lane) for every lane that holds numbers, so many rows of them, in a fixed order; `lane` is
// where its partial results begin, `width` apart.
template <typename T, typename Body>
void for_lanes(const Job<T>& job, const Body& body) {
  const int64_t at_once = job.width / job.norm.channels;
  const int64_t per_piece = job.piece / job.norm.channels;
  for (int64_t piece = 0; piece < pieces_of(job.norm); ++piece) {
    const float* partials = job.partials + piece * kPartials * job.width;
    const int64_t pixels = std::min(per_piece, job.norm.pixels - piece * per_piece);
    for (int64_t k = 0; k < std::min(at_once, pixels); ++k) {
      const int64_t rows = (pixels - k + at_once - 1) / at_once;
      for (int64_t c = 0; c < job.norm.channels; ++c) body(c, rows, partials + k * job.norm.channels + c);
    }
  }
}

void repeat(float* row, int64_t channels, int64_t width) {
  for (int64_t i = channels; i < width; ++i) row[i] = row[i - channels];
}

// Writes what every pass but the first multiplies with and adds; both directions must agree on the bits.
void write_scale(const BatchNorm& norm, const float* mean, const float* variance, int64_t width, float* factors) {
  for (int64_t c = 0; c < norm.channels; ++c) {
    factors[c] = norm.gamma[c] / std::sqrt(variance[c] + norm.epsilon);
    factors[width + c] = norm.beta[c] - mean[c] * factors[c];
  }
  repeat(factors, norm.channels, width);
  repeat(factors + width, norm.channels, width);
}

Status check_call(const BatchNorm& norm, int threads, Isa isa, int64_t workspace_bytes) {
  const int64_t needed = batch_norm_workspace(norm);
  if (needed < 0) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  return workspace_bytes < needed ? Status::kTooSmall : Status::kOk;
}

}  // namespace

int64_t batch_norm_workspace(const BatchNorm& norm) {
  constexpr int64_t kMostPixels = int64_t{1} << 31, kMostChannels = 1 << 20;
  if (norm.pixels < 1 || norm.channels < 1 || norm.pixels > kMostPixels || norm.channels > kMostChannels) return -1;
  const int64_t rows = kFactors + kPartials * pieces_of(norm);
  return rows * width_of(norm) * static_cast<int64_t>(sizeof(float)) +
         2 * norm.channels * static_cast<int64_t>(sizeof(double));
}

template <typename T>
Status batch_norm(const BatchNorm& norm, const T* x, int threads, Isa isa, void* workspace, int64_t workspace_bytes,
                  T* y, float* mean, float* variance) {
  if (const Status status = check_call(norm, threads, isa, workspace_bytes); status != Status::kOk) return status;
  auto* totals = static_cast<double*>(workspace);  // [2][channels]: mean so far, squared distances from it
  auto* factors = reinterpret_cast<float*>(totals + 2 * norm.channels);
  const int64_t width = width_of(norm), channels = norm.channels;
  const Job<T> job{norm, width, piece_of(norm), x, nullptr, y, factors, factors + kFactors * width};
  run_all(job, Pass::kSum, threads, isa);
  std::fill_n(totals, 2 * channels, 0.0);
  int64_t done = 0, counted = 0;
  for_lanes(job, [&](int64_t c, int64_t rows, const float* lane) {
    // Chan, Golub, LeVeque 1979: the mean and the distances of two parts together.
    if (c == 0) {
      done = counted;
      counted += rows;
    }
    const double n = static_cast<double>(rows), all = static_cast<double>(counted);
    const double shift = lane[width] / n;
    const double distance = lane[0] + shift - totals[c];
    totals[c] += distance * n / all;
    totals[channels + c] +=
        lane[2 * width] - shift * lane[width] + distance * distance * n * static_cast<double>(done) / all;
  });
  for (int64_t c = 0; c < channels; ++c) {
    mean[c] = static_cast<float>(totals[c]);
    variance[c] = static_cast<float>(totals[channels + c] / static_cast<double>(norm.pixels));
  }
  write_scale(norm, mean, variance, width, factors);
  run_all(job, Pass::kNormalise, threads, isa);
  return Status::kOk;
}

template <typename T>
Status batch_norm_gradient(const BatchNorm& norm, const T* x, const T* dy, const float* mean, const float* variance,
                           int threads, Isa isa, void* workspace, int64_t workspace_bytes, T* dx, float* dgamma,
                           float* dbeta) {
  if (const Status status = check_call(norm, threads, isa, workspace_bytes); status != Status::kOk) return status;
  auto* totals = static_cast<double*>(workspace);  // [2][channels]: of gradients, of their products with x - mean
  auto* factors = reinterpret_cast<float*>(totals + 2 * norm.channels);
  const int64_t width = width_of(norm), channels = norm.channels;
  const Job<T> job{norm, width, piece_of(norm), x, dy, dx, factors, factors + kFactors * width};
  write_scale(norm, mean, variance, width, factors);
  std::copy_n(mean, channels, factors + 2 * width);
  repeat(factors + 2 * width, channels, width);
  run_all(job, Pass::kSumGradients, threads, isa);
  std::fill_n(totals, 2 * channels, 0.0);
  for_lanes(job, [&](int64_t c, int64_t, const float* lane) {
    totals[c] += lane[0];
    totals[channels + c] += lane[width];
  });
  for (int64_t c = 0; c < channels; ++c) {
    const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + norm.epsilon);
    const double n = static_cast<double>(norm.pixels), scale = factors[c];
    dbeta[c] = static_cast<float>(totals[c]);
    dgamma[c] = static_cast<float>(totals[channels + c] * inverse);
    factors[3 * width + c] = static_cast<float>(-scale * inverse * inverse * totals[channels + c] / n);
    factors[4 * width + c] = static_cast<float>(-scale * totals[c] / n);
  }
  repeat(factors + 3 * width, channels, width);
  repeat(factors + 4 * width, channels, width);
  run_all(job, Pass::kDescend, threads, isa);
  return Status::kOk;
}

template Status batch_norm(const BatchNorm&, const float*, int, Isa, void*, int64_t, float*, float*, float*);
template Status batch_norm(const BatchNorm&, const Bfloat16*, int, Isa, void*, int64_t, Bfloat16*, float*, float*);
template Status batch_norm_gradient(const BatchNorm&, const float*, const float*, const float*, const float*, int, Isa,
                                    void*, int64_t, float*, float*, float*);
template Status batch_norm_gradient(const BatchNorm&, const Bfloat16*, const Bfloat16*, const float*, const float*, int,
                                    Isa, void*, int64_t, Bfloat16*, float*, float*);

}  // namespace solo
