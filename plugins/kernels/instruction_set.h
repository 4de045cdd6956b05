// The instruction sets a kernel is compiled for, and which of them this machine has.
//
// A kernel that gains from wide vectors is one always-inline body without intrinsics, called from one function per
// instruction set; the attribute on that function makes the compiler translate the body anew. Note that the variants
// differ in rounding only where a kernel asks for fused multiply-add.
#pragma once

#include <cstdint>

#define SOLO_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define SOLO_TARGET_AVX2 __attribute__((target("avx2,fma,bmi,bmi2,popcnt")))
#define SOLO_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi,bmi2,popcnt")))
#endif

namespace solo {

enum class Isa : int32_t {
  kPlain = 0,   // what every CPU of the architecture has: SSE2 on x86-64, NEON on aarch64
  kAvx2 = 1,    // x86-64-v3
  kAvx512 = 2,  // x86-64-v4
};

// Whether this CPU can run the variant.
bool has_isa(Isa isa);

// The widest variant this CPU can run.
Isa best_isa();

}  // namespace solo
