// Cross entropy of every pixel in training, forward and backward, of logits with channels last or plane by plane.
#pragma once

#include "bfloat16.h"
#include "status.h"

namespace solo {

constexpr int64_t kMostClasses = 256;
constexpr uint8_t kIgnored = 255;  // the label of a pixel that costs nothing

// Of logits [batch, pixels, classes], or [batch, classes, pixels] if they are planar.
struct CrossEntropy {
  int64_t batch, pixels, classes;
  bool planar;
  const uint8_t* labels;  // [batch, pixels]: classes or kIgnored
};

// Writes losses [batch, pixels], 0 where a label is ignored, and right, of the same shape: whether a label counts and
// no class has a higher logit. T is float or Bfloat16; the arithmetic is float, with a relative error of the
// probabilities below 1e-6. The same bits come out whatever the number of threads.
// Returns kBadSize for no pixels, no classes or more than kMostClasses, kBadArgument for a label that is no class,
// threads < 1 or an instruction set that the CPU lacks.
template <typename T>
Status cross_entropy(const CrossEntropy& loss, const T* logits, int threads, Isa isa, float* losses, bool* right);

// Writes the gradient of the logits, in their shape, that belongs to that of the losses, `dlosses`.
template <typename T>
Status cross_entropy_gradient(const CrossEntropy& loss, const T* logits, const float* dlosses, int threads, Isa isa,
                              T* dlogits);

}  // namespace solo
