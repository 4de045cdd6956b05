// How the processor treats denormals, numbers below 1.2e-38 as float32, in the calling thread and in those it starts
// afterwards. Many CPUs take over a hundred cycles for each vector that holds or gives one.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace solo {

#if defined(__x86_64__)
constexpr uint64_t kFlushes = 0x8040;  // MXCSR: results that are denormal are zero, and so are operands
#elif defined(__aarch64__)
constexpr uint64_t kFlushes = uint64_t{1} << 24;  // FPCR: both
#else
constexpr uint64_t kFlushes = 0;
#endif

// Sets the bits kFlushes of the thread's floating-point control to `wanted`, and returns those that were set before.
inline uint64_t set_flushes(uint64_t wanted) {
  uint64_t before = 0;
#if defined(__x86_64__)
  before = _mm_getcsr();
  _mm_setcsr(static_cast<uint32_t>((before & ~kFlushes) | wanted));
#elif defined(__aarch64__)
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" ::"r"((before & ~kFlushes) | wanted));
#endif
  return before & kFlushes;
}

}  // namespace solo
