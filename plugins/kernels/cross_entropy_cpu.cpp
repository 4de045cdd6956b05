#include <algorithm>
#include <cmath>

#include "cross_entropy.h"
#include "exponential.h"
#include "passes.h"

namespace solo {
namespace {

constexpr int64_t kLanes = 64;           // pixels that are computed side by side: classes are few, pixels are many
constexpr int64_t kPiece = 16 * kLanes;  // pixels
constexpr int64_t kPerThread = 1 << 17;  // logits that outweigh the start of a thread (about 30 us)
constexpr float kVanishing = -88.0f;     // where fast_exp is 0

enum class Pass { kForward, kGradient };

template <typename T>
struct Job {
  CrossEntropy loss;
  const T* logits;
  const float* dlosses;  // backward only
  float* losses;         // forward only
  bool* right;           // forward only
  T* dlogits;            // backward only

  int64_t pieces_each() const { return (loss.pixels + kPiece - 1) / kPiece; }
  int64_t class_step() const { return loss.planar ? loss.pixels : 1; }
  int64_t pixel_step() const { return loss.planar ? 1 : loss.classes; }
};

// Logits of kLanes pixels, each class side by side, `step` from one to the next.
template <typename T>
struct Block {
  T* numbers;
  int64_t step;
};

// Writes the highest x, exp(x - the highest) of every class, `step` apart, and the sum of these.
template <typename T>
SOLO_INLINE void sum_powers(const Block<const T>& x, int64_t classes, float* __restrict highest,
                            float* __restrict powers, int64_t step, float* __restrict sums) {
  for (int64_t i = 0; i < kLanes; ++i) highest[i] = widen(x.numbers[i]);
  for (int64_t c = 1; c < classes; ++c) {
    const T* __restrict numbers = x.numbers + c * x.step;
    for (int64_t i = 0; i < kLanes; ++i) {
      const float value = widen(numbers[i]);
      highest[i] = value > highest[i] ? value : highest[i];
    }
  }
  std::fill_n(sums, kLanes, 0.0f);
  for (int64_t c = 0; c < classes; ++c, powers += step) {
    const T* __restrict numbers = x.numbers + c * x.step;
    // Two loops: in a single one compilers see that fast_exp of the limit is a constant, and branch.
    for (int64_t i = 0; i < kLanes; ++i) {
      const float below = widen(numbers[i]) - highest[i];
      powers[i] = below < kVanishing ? kVanishing : below;
    }
    for (int64_t i = 0; i < kLanes; ++i) {
      powers[i] = fast_exp(powers[i]);
      sums[i] += powers[i];
    }
  }
}

template <typename T>
SOLO_INLINE void write_losses(const Block<const T>& x, int64_t classes, const int32_t* __restrict labels,
                              float* __restrict losses, bool* __restrict right) {
  float highest[kLanes], powers[kLanes], sums[kLanes], own[kLanes] = {};
  sum_powers(x, classes, highest, powers, 0, sums);
  for (int32_t c = 0; c < classes; ++c) {
    const T* __restrict numbers = x.numbers + c * x.step;
    for (int64_t i = 0; i < kLanes; ++i) {
      const float value = widen(numbers[i]);
      own[i] = labels[i] == c ? value : own[i];
    }
  }
  for (int64_t i = 0; i < kLanes; ++i) {
    const bool counts = labels[i] != kIgnored;
    losses[i] = counts ? std::log(sums[i]) + (highest[i] - own[i]) : 0.0f;
    right[i] = counts && own[i] >= highest[i];
  }
}

template <typename T>
SOLO_INLINE void write_gradients(const Block<const T>& x, int64_t classes, const int32_t* __restrict labels,
                                 const float* __restrict dlosses, const Block<T>& dx) {
  float highest[kLanes], powers[kMostClasses * kLanes], sums[kLanes], wanted[kLanes];
  sum_powers(x, classes, highest, powers, kLanes, sums);
  for (int64_t i = 0; i < kLanes; ++i) {
    const float given = dlosses[i];
    wanted[i] = labels[i] == kIgnored ? 0.0f : given;
    sums[i] = wanted[i] / sums[i];
  }
  for (int32_t c = 0; c < classes; ++c) {
    T* __restrict out = dx.numbers + c * dx.step;
    const float* __restrict row = powers + c * kLanes;
    for (int64_t i = 0; i < kLanes; ++i) {
      const auto own = static_cast<float>(labels[i] == c);
      narrow(row[i] * sums[i] - own * wanted[i], out + i);
    }
  }
}

// A piece is kPiece pixels of one picture, or what is left of them.
template <typename T>
SOLO_INLINE void run(const Job<T>& job, Pass pass, int64_t piece) {
  const CrossEntropy& loss = job.loss;
  const int64_t classes = loss.classes, class_step = job.class_step(), pixel_step = job.pixel_step();
  const int64_t picture = piece / job.pieces_each(), first = piece % job.pieces_each() * kPiece;
  const int64_t end = std::min(first + kPiece, loss.pixels);
  T numbers[kMostClasses * kLanes];  // where logits do not lie as a block does
  std::fill_n(numbers, classes * kLanes, T{});
  int32_t labels[kLanes] = {};
  float losses[kLanes] = {};  // or their gradients
  bool right[kLanes];
  for (int64_t start = first; start < end; start += kLanes) {
    const int64_t count = std::min(kLanes, end - start), place = picture * loss.pixels + start;
    const int64_t offset = picture * loss.pixels * classes + start * pixel_step;
    const bool in_place = loss.planar && count == kLanes;
    const T* from = job.logits + offset;
    if (!in_place) {
      for (int64_t c = 0; c < classes; ++c) {
        for (int64_t i = 0; i < count; ++i) numbers[c * kLanes + i] = from[c * class_step + i * pixel_step];
      }
    }
    const Block<const T> x = in_place ? Block<const T>{from, class_step} : Block<const T>{numbers, kLanes};
    std::copy_n(loss.labels + place, count, labels);
    if (pass == Pass::kForward) {
      write_losses(x, classes, labels, losses, right);
      std::copy_n(losses, count, job.losses + place);
      std::copy_n(right, count, job.right + place);
      continue;
    }
    T* to = job.dlogits + offset;
    std::copy_n(job.dlosses + place, count, losses);
    write_gradients(x, classes, labels, losses, in_place ? Block<T>{to, class_step} : Block<T>{numbers, kLanes});
    if (!in_place) {
      for (int64_t c = 0; c < classes; ++c) {
        for (int64_t i = 0; i < count; ++i) to[c * class_step + i * pixel_step] = numbers[c * kLanes + i];
      }
    }
  }
}

template <typename T>
void run_all(const Job<T>& job, Pass pass, int threads, Isa isa) {
  const CrossEntropy& loss = job.loss;
  const int64_t useful = loss.batch * loss.pixels * loss.classes / kPerThread;
  run_pieces(job, pass, loss.batch * job.pieces_each(), useful, threads, isa);
}

Status check_call(const CrossEntropy& loss, int threads, Isa isa) {
  constexpr int64_t kMost = int64_t{1} << 31;
  for (const int64_t size : {loss.batch, loss.pixels, loss.classes}) {
    if (size < 1 || size > kMost) return Status::kBadSize;
  }
  if (loss.classes > kMostClasses) return Status::kBadSize;
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  const bool fits = std::all_of(loss.labels, loss.labels + loss.batch * loss.pixels,
                                [&](uint8_t label) { return label < loss.classes || label == kIgnored; });
  return fits ? Status::kOk : Status::kBadArgument;
}

}  // namespace

template <typename T>
Status cross_entropy(const CrossEntropy& loss, const T* logits, int threads, Isa isa, float* losses, bool* right) {
  if (const Status status = check_call(loss, threads, isa); status != Status::kOk) return status;
  run_all(Job<T>{loss, logits, nullptr, losses, right, nullptr}, Pass::kForward, threads, isa);
  return Status::kOk;
}

template <typename T>
Status cross_entropy_gradient(const CrossEntropy& loss, const T* logits, const float* dlosses, int threads, Isa isa,
                              T* dlogits) {
  if (const Status status = check_call(loss, threads, isa); status != Status::kOk) return status;
  run_all(Job<T>{loss, logits, dlosses, nullptr, nullptr, dlogits}, Pass::kGradient, threads, isa);
  return Status::kOk;
}

template Status cross_entropy(const CrossEntropy&, const float*, int, Isa, float*, bool*);
template Status cross_entropy(const CrossEntropy&, const Bfloat16*, int, Isa, float*, bool*);
template Status cross_entropy_gradient(const CrossEntropy&, const float*, const float*, int, Isa, float*);
template Status cross_entropy_gradient(const CrossEntropy&, const Bfloat16*, const float*, int, Isa, Bfloat16*);

}  // namespace solo
