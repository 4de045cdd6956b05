#include <algorithm>
#include <cmath>

#include "batch_norm.h"
#include "passes.h"

namespace solo {
namespace {

constexpr int64_t kCentreRows = 16;

enum class Pass { kSum, kNormalise, kSumGradients, kDescend };

// One call: where its numbers are.
template <typename T>
struct Job {
  BatchNorm norm;
  const T* x;
  const T* dy;           // backward only
  T* out;                // y or dx
  const float* factors;  // [kFactors][width]: scale, offset, slope; in the gradient also mean, descent and level
  float* partials;       // [pieces][kPartials][width] and a gap
};

constexpr int64_t kFactors = 6;
constexpr int64_t kPartials = 3;

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

template <Activation kAct>
SOLO_INLINE float activated(float value, float slope) {
  if (kAct == Activation::kRelu) return value < 0.0f ? 0.0f : value;
  if (kAct == Activation::kPrelu) return value < 0.0f ? value * slope : value;
  return value;
}

// The gradient of the normalised number `value`: that of y, as far as the activation let it through.
template <Activation kAct>
SOLO_INLINE float passed(float value, float dy, float slope) {
  if (kAct == Activation::kRelu) return value <= 0.0f ? 0.0f : dy;
  if (kAct == Activation::kPrelu) return value > 0.0f ? dy : dy * slope;
  return dy;
}

template <Activation kAct, typename T>
SOLO_INLINE void normalise(const T* __restrict x, int64_t count, int64_t width, const float* __restrict factors,
                           T* __restrict y) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  const float* __restrict slope = factors + 2 * width;
  for (; count > 0; count -= width, x += width, y += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      narrow(activated<kAct>(widen(x[i]) * scale[i] + offset[i], slope[i]), y + i);
    }
  }
}

template <Activation kAct, typename T>
SOLO_INLINE void sum_gradients(const T* __restrict x, const T* __restrict dy, int64_t count, int64_t width,
                               const float* __restrict factors, float* __restrict partials) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  const float* __restrict slope = factors + 2 * width;
  const float* __restrict mean = factors + 3 * width;
  float* __restrict sums = partials;
  float* __restrict products = partials + width;
  float* __restrict below = partials + 2 * width;
  std::fill_n(sums, 3 * width, 0.0f);
  for (; count > 0; count -= width, x += width, dy += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float value = widen(x[i]) * scale[i] + offset[i];
      const float gradient = passed<kAct>(value, widen(dy[i]), slope[i]);
      sums[i] += gradient;
      products[i] += gradient * (widen(x[i]) - mean[i]);
      if (kAct == Activation::kPrelu) below[i] += value > 0.0f ? 0.0f : widen(dy[i]) * value;
    }
  }
}

template <Activation kAct, typename T>
SOLO_INLINE void descend(const T* __restrict x, const T* __restrict dy, int64_t count, int64_t width,
                         const float* __restrict factors, T* __restrict dx) {
  const float* __restrict scale = factors;
  const float* __restrict offset = factors + width;
  const float* __restrict slope = factors + 2 * width;
  const float* __restrict mean = factors + 3 * width;
  const float* __restrict descent = factors + 4 * width;
  const float* __restrict level = factors + 5 * width;
  for (; count > 0; count -= width, x += width, dy += width, dx += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float gradient = passed<kAct>(widen(x[i]) * scale[i] + offset[i], widen(dy[i]), slope[i]);
      narrow(gradient * scale[i] + (widen(x[i]) - mean[i]) * descent[i] + level[i], dx + i);
    }
  }
}

template <Activation kAct, typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  const ChannelRows& rows = job.norm.rows;
  const int64_t width = rows.width(), start = piece * rows.piece();
  const int64_t count = std::min(rows.piece(), rows.numbers() - start);
  float* partials = job.partials + piece * rows.step(kPartials);
  const T* x = job.x + start;
  switch (pass) {
    case Pass::kSum:
      return sum(x, count, width, partials);
    case Pass::kNormalise:
      return normalise<kAct>(x, count, width, job.factors, job.out + start);
    case Pass::kSumGradients:
      return sum_gradients<kAct>(x, job.dy + start, count, width, job.factors, partials);
    case Pass::kDescend:
      return descend<kAct>(x, job.dy + start, count, width, job.factors, job.out + start);
  }
}

template <typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  switch (job.norm.activation) {
    case Activation::kNone:
      return run<Activation::kNone>(job, pass, piece);
    case Activation::kRelu:
      return run<Activation::kRelu>(job, pass, piece);
    case Activation::kPrelu:
      return run<Activation::kPrelu>(job, pass, piece);
  }
}

template <typename T>
void run_all(const Job<T>& job, Pass pass, int threads, Isa isa) {
  run_pieces(job, pass, job.norm.rows.pieces(), job.norm.rows.useful_threads(), threads, isa);
}

// Writes what every pass but the first multiplies with and adds; both directions must agree on the bits.
void write_scale(const BatchNorm& norm, const float* mean, const float* variance, float* factors) {
  const int64_t channels = norm.rows.channels, width = norm.rows.width();
  for (int64_t c = 0; c < channels; ++c) {
    factors[c] = norm.gamma[c] / std::sqrt(variance[c] + norm.epsilon);
    factors[width + c] = norm.beta[c] - mean[c] * factors[c];
  }
  norm.rows.repeat(factors, factors);
  norm.rows.repeat(factors + width, factors + width);
  if (norm.activation == Activation::kPrelu) norm.rows.repeat(norm.slopes, factors + 2 * width);
}

Status check_call(const BatchNorm& norm, int threads, Isa isa, int64_t workspace_bytes) {
  const int64_t needed = batch_norm_workspace(norm);
  if (needed < 0) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  return workspace_bytes < needed ? Status::kTooSmall : Status::kOk;
}

}  // namespace

int64_t batch_norm_workspace(const BatchNorm& norm) {
  if (!norm.rows.are_sane()) return -1;
  const int64_t floats = kFactors * norm.rows.width() + norm.rows.pieces() * norm.rows.step(kPartials);
  return floats * static_cast<int64_t>(sizeof(float)) + 3 * norm.rows.channels * static_cast<int64_t>(sizeof(double));
}

template <typename T>
Status batch_norm(const BatchNorm& norm, const T* x, int threads, Isa isa, void* workspace, int64_t workspace_bytes,
                  T* y, float* mean, float* variance) {
  if (const Status status = check_call(norm, threads, isa, workspace_bytes); status != Status::kOk) return status;
  const int64_t width = norm.rows.width(), channels = norm.rows.channels;
  auto* totals = static_cast<double*>(workspace);  // [2][channels]: mean so far, squared distances from it
  auto* factors = reinterpret_cast<float*>(totals + 3 * channels);
  const Job<T> job{norm, x, nullptr, y, factors, factors + kFactors * width};
  run_all(job, Pass::kSum, threads, isa);
  std::fill_n(totals, 2 * channels, 0.0);
  int64_t done = 0, counted = 0;
  norm.rows.for_lanes(job.partials, kPartials, [&](int64_t c, int64_t rows, const float* lane) {
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
    variance[c] = static_cast<float>(totals[channels + c] / static_cast<double>(norm.rows.pixels));
  }
  write_scale(norm, mean, variance, factors);
  run_all(job, Pass::kNormalise, threads, isa);
  return Status::kOk;
}

template <typename T>
Status batch_norm_gradient(const BatchNorm& norm, const T* x, const T* dy, const float* mean, const float* variance,
                           int threads, Isa isa, void* workspace, int64_t workspace_bytes, T* dx, float* dgamma,
                           float* dbeta, float* dslopes) {
  if (const Status status = check_call(norm, threads, isa, workspace_bytes); status != Status::kOk) return status;
  const int64_t width = norm.rows.width(), channels = norm.rows.channels;
  auto* sums = static_cast<double*>(workspace);  // [channels] of gradients
  auto* products = sums + channels;              // [channels] of gradients times x - mean
  auto* below = products + channels;             // [channels] of dy times normalised numbers that are not above 0
  auto* factors = reinterpret_cast<float*>(below + channels);
  const Job<T> job{norm, x, dy, dx, factors, factors + kFactors * width};
  write_scale(norm, mean, variance, factors);
  norm.rows.repeat(mean, factors + 3 * width);
  run_all(job, Pass::kSumGradients, threads, isa);
  std::fill_n(sums, 3 * channels, 0.0);
  norm.rows.for_lanes(job.partials, kPartials, [&](int64_t c, int64_t, const float* lane) {
    sums[c] += lane[0];
    products[c] += lane[width];
    below[c] += lane[2 * width];
  });
  float* descent = factors + 4 * width;
  float* level = factors + 5 * width;
  for (int64_t c = 0; c < channels; ++c) {
    const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + norm.epsilon);
    const double n = static_cast<double>(norm.rows.pixels), scale = factors[c];
    dbeta[c] = static_cast<float>(sums[c]);
    dgamma[c] = static_cast<float>(products[c] * inverse);
    dslopes[c] = static_cast<float>(below[c]);
    descent[c] = static_cast<float>(-scale * inverse * inverse * products[c] / n);
    level[c] = static_cast<float>(-scale * sums[c] / n);
  }
  norm.rows.repeat(descent, descent);
  norm.rows.repeat(level, level);
  run_all(job, Pass::kDescend, threads, isa);
  return Status::kOk;
}

template Status batch_norm(const BatchNorm&, const float*, int, Isa, void*, int64_t, float*, float*, float*);
template Status batch_norm(const BatchNorm&, const Bfloat16*, int, Isa, void*, int64_t, Bfloat16*, float*, float*);
template Status batch_norm_gradient(const BatchNorm&, const float*, const float*, const float*, const float*, int, Isa,
                                    void*, int64_t, float*, float*, float*, float*);
template Status batch_norm_gradient(const BatchNorm&, const Bfloat16*, const Bfloat16*, const float*, const float*, int,
                                    Isa, void*, int64_t, Bfloat16*, float*, float*, float*);

}  // namespace solo
