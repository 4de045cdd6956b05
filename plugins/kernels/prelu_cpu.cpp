#include <algorithm>

#include "passes.h"
#include "prelu.h"

namespace solo {
namespace {

enum class Pass { kForward, kBackward };

// One call: where its numbers are.
template <typename T>
struct Job {
  ChannelRows rows;
  const T* x;
  const T* dy;          // backward only
  T* out;               // y or dx
  const float* slopes;  // [width]
  float* partials;      // [pieces][width] and a gap: of the slopes' gradient
};

template <typename T>
SOLO_INLINE void forward(const T* __restrict x, int64_t count, int64_t width, const float* __restrict slopes,
                         T* __restrict y) {
  for (; count > 0; count -= width, x += width, y += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float value = widen(x[i]);
      narrow(value < 0.0f ? value * slopes[i] : value, y + i);
    }
  }
}

template <typename T>
SOLO_INLINE void backward(const T* __restrict x, const T* __restrict dy, int64_t count, int64_t width,
                          const float* __restrict slopes, T* __restrict dx, float* __restrict sums) {
  std::fill_n(sums, width, 0.0f);
  for (; count > 0; count -= width, x += width, dy += width, dx += width) {
    const int64_t lanes = std::min(count, width);
    for (int64_t i = 0; i < lanes; ++i) {
      const float value = widen(x[i]), gradient = widen(dy[i]);
      sums[i] += value > 0.0f ? 0.0f : gradient * value;
      narrow(value > 0.0f ? gradient : gradient * slopes[i], dx + i);
    }
  }
}

template <typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  const int64_t width = job.rows.width(), start = piece * job.rows.piece();
  const int64_t count = std::min(job.rows.piece(), job.rows.numbers() - start);
  if (pass == Pass::kForward) return forward(job.x + start, count, width, job.slopes, job.out + start);
  backward(job.x + start, job.dy + start, count, width, job.slopes, job.out + start,
           job.partials + piece * job.rows.step(1));
}

// Behind the totals of the slopes' gradient, double [channels].
float* slopes_in(const Prelu& prelu, void* workspace) {
  return reinterpret_cast<float*>(static_cast<double*>(workspace) + prelu.rows.channels);
}

template <typename T>
Status run_all(const Prelu& prelu, const T* x, const T* dy, Pass pass, int threads, Isa isa, void* workspace,
               int64_t workspace_bytes, T* out) {
  const int64_t needed = prelu_workspace(prelu);
  if (needed < 0) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  if (workspace_bytes < needed) return Status::kTooSmall;
  float* slopes = slopes_in(prelu, workspace);
  prelu.rows.repeat(prelu.slopes, slopes);
  const Job<T> job{prelu.rows, x, dy, out, slopes, slopes + prelu.rows.width()};
  run_pieces(job, pass, prelu.rows.pieces(), prelu.rows.useful_threads(), threads, isa);
  return Status::kOk;
}

}  // namespace

int64_t prelu_workspace(const Prelu& prelu) {
  if (!prelu.rows.are_sane()) return -1;
  const int64_t floats = prelu.rows.width() + prelu.rows.pieces() * prelu.rows.step(1);
  return floats * static_cast<int64_t>(sizeof(float)) + prelu.rows.channels * static_cast<int64_t>(sizeof(double));
}

template <typename T>
Status prelu(const Prelu& prelu, const T* x, int threads, Isa isa, void* workspace, int64_t workspace_bytes, T* y) {
  return run_all<T>(prelu, x, nullptr, Pass::kForward, threads, isa, workspace, workspace_bytes, y);
}

template <typename T>
Status prelu_gradient(const Prelu& prelu, const T* x, const T* dy, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, T* dx, float* dslopes) {
  const Status status = run_all(prelu, x, dy, Pass::kBackward, threads, isa, workspace, workspace_bytes, dx);
  if (status != Status::kOk) return status;
  auto* totals = static_cast<double*>(workspace);
  std::fill_n(totals, prelu.rows.channels, 0.0);
  const float* partials = slopes_in(prelu, workspace) + prelu.rows.width();
  prelu.rows.for_lanes(partials, 1, [&](int64_t c, int64_t, const float* lane) { totals[c] += lane[0]; });
  std::copy_n(totals, prelu.rows.channels, dslopes);
  return Status::kOk;
}

template Status prelu(const Prelu&, const float*, int, Isa, void*, int64_t, float*);
template Status prelu(const Prelu&, const Bfloat16*, int, Isa, void*, int64_t, Bfloat16*);
template Status prelu_gradient(const Prelu&, const float*, const float*, int, Isa, void*, int64_t, float*, float*);
template Status prelu_gradient(const Prelu&, const Bfloat16*, const Bfloat16*, int, Isa, void*, int64_t, Bfloat16*,
                               float*);

}  // namespace solo
