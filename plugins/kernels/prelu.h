// PReLU (He et al. 2015) of maps in training: forward and backward, each in one pass over memory.
#pragma once

#include "bfloat16.h"
#include "channel_rows.h"
#include "status.h"

namespace solo {

// Of maps [pixels, channels]: numbers below 0 are multiplied by the slope of their channel.
struct Prelu {
  ChannelRows rows;
  const float* slopes;  // [channels]
};

// Bytes of the workspace that both functions take; -1 if the sizes are out of range.
int64_t prelu_workspace(const Prelu& prelu);

// Writes y, of the shape of x. T is float or Bfloat16. Returns kBadSize for no channels or no pixels, kBadArgument for
// threads < 1 or an instruction set that the CPU lacks, kTooSmall for a workspace that is.
template <typename T>
Status prelu(const Prelu& prelu, const T* x, int threads, Isa isa, void* workspace, int64_t workspace_bytes, T* y);

// Writes the gradients dx, of the shape of x, and dslopes [channels] that belong to dy, that of y. The same bits come
// out whatever the number of threads.
template <typename T>
Status prelu_gradient(const Prelu& prelu, const T* x, const T* dy, int threads, Isa isa, void* workspace,
                      int64_t workspace_bytes, T* dx, float* dslopes);

}  // namespace solo
