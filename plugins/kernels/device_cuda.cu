#include <cstdio>

#include "device_cuda.h"
#include "launch.cuh"

namespace solo {
namespace {

__global__ void nothing() {}

// Returns the status, and forgets the error: else the next call of others would report it as theirs.
int report(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return cuda_status(error);
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_use_device(int32_t device) { return report(cudaSetDevice(device)); }

int solo_cuda_ready() {
  cudaFuncAttributes attributes;
  const int status = report(cudaFree(nullptr));  // makes the context
  return status != SOLO_OK ? status : report(cudaFuncGetAttributes(&attributes, nothing));
}

int solo_cuda_describe_device(char* text, int32_t bytes) {
  int device = 0;
  cudaDeviceProp properties;
  int status = report(cudaGetDevice(&device));
  if (status == SOLO_OK) status = report(cudaGetDeviceProperties(&properties, device));
  if (status != SOLO_OK) return status;
  std::snprintf(text, static_cast<size_t>(bytes), "%s %d.%d", properties.name, properties.major, properties.minor);
  return SOLO_OK;
}

int solo_cuda_runtime_version() {
  int version = 0;
  report(cudaRuntimeGetVersion(&version));
  return version;
}

int solo_cuda_driver_version() {
  int version = 0;
  report(cudaDriverGetVersion(&version));
  return version;
}

const char* solo_cuda_error_text(int32_t status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status - SOLO_CUDA_ERROR));
}

int solo_cuda_allocate(void** memory, int64_t bytes) { return report(cudaMalloc(memory, static_cast<size_t>(bytes))); }

int solo_cuda_free(void* memory) { return report(cudaFree(memory)); }

int solo_cuda_allocate_host(void** memory, int64_t bytes) {
  return report(cudaMallocHost(memory, static_cast<size_t>(bytes)));
}

int solo_cuda_free_host(void* memory) { return report(cudaFreeHost(memory)); }

int solo_cuda_copy(void* to, const void* from, int64_t bytes, void* stream) {
  return report(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_of(stream)));
}

int solo_cuda_create_stream(void** stream) {
  return report(cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking));
}

int solo_cuda_destroy_stream(void* stream) { return report(cudaStreamDestroy(stream_of(stream))); }

int solo_cuda_synchronize(void* stream) { return report(cudaStreamSynchronize(stream_of(stream))); }

int solo_cuda_begin_capture(void* stream) {
  return report(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal));
}

int solo_cuda_end_capture(void** graph, void* stream) {
  cudaGraph_t recorded = nullptr;
  int status = report(cudaStreamEndCapture(stream_of(stream), &recorded));
  if (status == SOLO_OK) {
    status = report(cudaGraphInstantiateWithFlags(reinterpret_cast<cudaGraphExec_t*>(graph), recorded, 0));
  }
  if (recorded != nullptr) report(cudaGraphDestroy(recorded));
  return status;
}

int solo_cuda_launch_graph(void* graph, void* stream) {
  return report(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)));
}

int solo_cuda_destroy_graph(void* graph) { return report(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph))); }

int solo_cuda_create_event(void** event) { return report(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(event))); }

int solo_cuda_record_event(void* event, void* stream) {
  return report(cudaEventRecord(event_of(event), stream_of(stream)));
}

int solo_cuda_elapsed(float* milliseconds, void* first, void* second) {
  return report(cudaEventElapsedTime(milliseconds, event_of(first), event_of(second)));
}

int solo_cuda_destroy_event(void* event) { return report(cudaEventDestroy(event_of(event))); }
