// SOLO_HOST_DEVICE marks arithmetic that the CPU and the CUDA kernels share, so that the tests of one test both.
#pragma once

#if defined(__CUDACC__)
#define SOLO_HOST_DEVICE __host__ __device__ inline
#else
#define SOLO_HOST_DEVICE inline
#endif
