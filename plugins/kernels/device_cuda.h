/* A card for those who call the kernels: memory, streams, copies, graphs and events, by the same CUDA runtime.
 *
 * Everything acts on the device that the calling thread uses: that of solo_cuda_use_device, or of the context that
 * somebody made current there. Pointers to results are host memory. Nothing here is for use inside of a recording but
 * solo_cuda_copy.
 */
#pragma once

#include "cuda_abi.h"

SOLO_CUDA_API int solo_cuda_use_device(int32_t device);
/* Returns whether this library can work here at all: an old driver, or a card it has no code for, is an error. */
SOLO_CUDA_API int solo_cuda_ready(void);
/* Writes name and compute capability, "NVIDIA H200 9.0", cut off at `bytes`. */
SOLO_CUDA_API int solo_cuda_describe_device(char* text, int32_t bytes);
/* 1000 * major + 10 * minor, of this library's runtime, or the newest that the driver knows: 0 without a driver. */
SOLO_CUDA_API int solo_cuda_runtime_version(void);
SOLO_CUDA_API int solo_cuda_driver_version(void);
/* What a SOLO_CUDA_ERROR + cudaError_t means. */
SOLO_CUDA_API const char* solo_cuda_error_text(int32_t status);

SOLO_CUDA_API int solo_cuda_allocate(void** memory, int64_t bytes);
SOLO_CUDA_API int solo_cuda_free(void* memory);
/* Memory of the host that stays where it is, from and to which copies run beside the host. */
SOLO_CUDA_API int solo_cuda_allocate_host(void** memory, int64_t bytes);
SOLO_CUDA_API int solo_cuda_free_host(void* memory);
/* Enqueues a copy between a device and such memory of the host, either way. */
SOLO_CUDA_API int solo_cuda_copy(void* to, const void* from, int64_t bytes, void* stream);

/* A stream that does not wait for the default one. */
SOLO_CUDA_API int solo_cuda_create_stream(void** stream);
SOLO_CUDA_API int solo_cuda_destroy_stream(void* stream);
SOLO_CUDA_API int solo_cuda_synchronize(void* stream);

/* From begin to end, what this thread enqueues on the stream is recorded and not done; end always ends it. */
SOLO_CUDA_API int solo_cuda_begin_capture(void* stream);
SOLO_CUDA_API int solo_cuda_end_capture(void** graph, void* stream);
SOLO_CUDA_API int solo_cuda_launch_graph(void* graph, void* stream);
SOLO_CUDA_API int solo_cuda_destroy_graph(void* graph);

SOLO_CUDA_API int solo_cuda_create_event(void** event);
SOLO_CUDA_API int solo_cuda_record_event(void* event, void* stream);
/* The time between two events that are over. */
SOLO_CUDA_API int solo_cuda_elapsed(float* milliseconds, void* first, void* second);
SOLO_CUDA_API int solo_cuda_destroy_event(void* event);
