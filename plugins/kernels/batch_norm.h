// Batch normalisation of maps in training and the activation behind it: forward and backward, each in two passes over
// memory.
#pragma once

#include "bfloat16.h"
#include "channel_rows.h"
#include "status.h"

namespace solo {

// What becomes of numbers below 0: kept, 0, or multiplied by the slope of their channel.
enum class Activation { kNone, kRelu, kPrelu };

// Of maps [pixels, channels]: the pixels of all pictures of a batch, channels last.
struct BatchNorm {
  ChannelRows rows;
  float epsilon;
  Activation activation;
  const float* gamma;   // [channels]
  const float* beta;    // [channels]
  const float* slopes;  // [channels], of kPrelu only
};

// Bytes of the workspace that both functions take; -1 if the sizes are out of range.
int64_t batch_norm_workspace(const BatchNorm& norm);

// Writes y, of the shape of x, and mean and variance [channels] of x, the latter divided by the pixels and not by one
// less. T is float or Bfloat16. The same bits come out whatever the number of threads.
// Returns kBadSize for no channels or no pixels, kBadArgument for threads < 1 or an instruction set that the CPU
// lacks, kTooSmall for a workspace that is.
template <typename T>
Status batch_norm(const BatchNorm& norm, const T* x, int threads, Isa isa, void* workspace, int64_t workspace_bytes,
                  T* y, float* mean, float* variance);

// Writes the gradients dx, of the shape of x, dgamma, dbeta and dslopes [channels] that belong to dy, that of y, from
// what batch_norm was given and what it wrote. Without slopes their gradients are 0.
template <typename T>
Status batch_norm_gradient(const BatchNorm& norm, const T* x, const T* dy, const float* mean, const float* variance,
                           int threads, Isa isa, void* workspace, int64_t workspace_bytes, T* dx, float* dgamma,
                           float* dbeta, float* dslopes);

}  // namespace solo
