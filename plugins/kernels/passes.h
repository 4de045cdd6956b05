// Runs a pass of a kernel over its pieces, for one instruction set. A job says what a pass does with one piece in a
// function run(job, pass, piece), always inlined, so that each variant below is compiled from it.
#pragma once

#include <algorithm>

#include "instruction_set.h"
#include "parallel.h"

namespace solo {

#if defined(__x86_64__)
template <typename Job, typename Pass>
SOLO_TARGET_AVX512 void run_avx512(const Job& job, Pass pass, int64_t piece) {
  run(job, pass, piece);
}
template <typename Job, typename Pass>
SOLO_TARGET_AVX2 void run_avx2(const Job& job, Pass pass, int64_t piece) {
  run(job, pass, piece);
}
#endif
template <typename Job, typename Pass>
void run_plain(const Job& job, Pass pass, int64_t piece) {
  run(job, pass, piece);
}

// On at most `threads` threads, and no more than `useful`; at least one.
template <typename Job, typename Pass>
void run_pieces(const Job& job, Pass pass, int64_t pieces, int64_t useful, int threads, [[maybe_unused]] Isa isa) {
  auto* body = run_plain<Job, Pass>;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) {
    body = run_avx512<Job, Pass>;
  } else if (isa == Isa::kAvx2) {
    body = run_avx2<Job, Pass>;
  }
#endif
  parallel_for(static_cast<int>(std::clamp<int64_t>(useful, 1, threads)), pieces,
               [&](int, int64_t piece) { body(job, pass, piece); });
}

}  // namespace solo
