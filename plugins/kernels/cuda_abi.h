/* What the C functions of the CUDA kernels have in common. Plain C, so that ctypes and others can call them.
 *
 * Pointers are device memory unless a comment says host. Work is enqueued on `stream`, a cudaStream_t; nothing is
 * allocated, nothing waits, and which launches are made depends on sizes alone, so that calls can be captured in a
 * CUDA graph. A workspace is scratch memory of at least the bytes that the function's _workspace twin returns, at any
 * address that cudaMalloc returns or a multiple of 256 bytes behind one; calls on different streams need their own.
 * Tensors are contiguous. Every function returns a SoloStatus, or SOLO_CUDA_ERROR + cudaError_t of a failed launch;
 * what goes wrong later on the device shows on synchronising, as for any launch. Results are the same in every run.
 */
#pragma once

#include <stdint.h>

#if defined(__cplusplus)
#define SOLO_CUDA_API extern "C" __attribute__((visibility("default")))
#else
#define SOLO_CUDA_API
#endif

enum SoloStatus {
  SOLO_OK = 0,
  SOLO_BAD_SIZE = 1,     /* a size is negative, zero where it must not be, or too large */
  SOLO_BAD_ARGUMENT = 2, /* a parameter is outside its documented range */
  SOLO_TOO_SMALL = 3,    /* the workspace is smaller than the function's _workspace twin says */
  SOLO_CUDA_ERROR = 1000 /* plus the cudaError_t */
};

/* Element types of tensors. */
enum SoloType { SOLO_FLOAT32 = 0, SOLO_FLOAT16 = 1 };

enum { SOLO_MAX_SLOTS = 2048, SOLO_MAX_CELLS = 65536, SOLO_MAX_CLASSES = 65536, SOLO_MAX_LEVELS = 8 };
