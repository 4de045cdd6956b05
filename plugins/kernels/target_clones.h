// SOLO_CLONES compiles a function once for AVX2 and once for the baseline of x86-64, and the loader picks one.
// Elsewhere there is only the baseline, NEON on aarch64. For plain loops that the compiler vectorises, where it pays.
#pragma once

// A feature and not an architecture: GCC takes arch=haswell for the processor of that name alone.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define SOLO_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SOLO_CLONES
#endif
