// The card that kernels run on: two devices, their memory, streams whose work is done as late as somebody waits for it,
// recordings, events, and failures to order. What tests set and look at is `emulator_card`.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalAddress = 700,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};

using Work = std::function<void()>;
struct CUstream_st {
  int device;
  std::vector<Work> work, recorded;
  bool is_recording, is_spoiled;
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUevent_st {
  int64_t time;
};
using cudaStream_t = CUstream_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraph_st*;
using cudaEvent_t = CUevent_st*;

// Of the host and of the device alike; tests/card.py mirrors it.
struct EmulatedCard {
  int32_t calls;                                         // of the CUDA runtime since a test set it to 0
  int32_t failing;                                       // the call that fails, of those; -1 for none
  int32_t error;                                         // with which; from 700 on all later ones fail as well
  int32_t image;                                         // the error of asking for a kernel's code
  int32_t driver, runtime;                               // versions
  int32_t waits, launches;                               // of streams, and of graphs
  int32_t streams, graphs, events, blocks, host_blocks;  // that exist
  int64_t room;                                          // bytes a device has left
  int64_t done;                                          // pieces of work
};

extern "C" __attribute__((visibility("default"))) EmulatedCard emulator_card;

namespace emulator {

constexpr int kDevices = 2;

struct Memory {
  std::mutex mutex;  // of what is below, and of `emulator_card`
  std::map<uintptr_t, size_t> blocks;
};

inline Memory memory;
inline thread_local int device = 0;
inline thread_local cudaStream_t recording = nullptr;

// Counts a call and returns its failure, if that is ordered.
inline cudaError_t enter() {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  EmulatedCard& card = emulator_card;
  const int call = card.calls++;
  if (card.driver < card.runtime) return cudaErrorInsufficientDriver;
  const bool fails = card.failing >= 0 && (call == card.failing || (card.error >= 700 && call > card.failing));
  return fails ? static_cast<cudaError_t>(card.error) : cudaSuccess;
}

// As `enter`, for what a recording does not bear.
inline cudaError_t enter_unrecorded() {
  const cudaError_t error = enter();
  if (error != cudaSuccess || recording == nullptr) return error;
  recording->is_spoiled = true;
  return cudaErrorStreamCaptureUnsupported;
}

inline cudaError_t enqueue(cudaStream_t stream, Work work) {
  const cudaError_t error = enter();
  if (error != cudaSuccess) return error;
  if (stream == nullptr) {
    work();
  } else if (stream->device != device) {
    return cudaErrorInvalidResourceHandle;
  } else {
    (stream->is_recording ? stream->recorded : stream->work).push_back(std::move(work));
  }
  return cudaSuccess;
}

// Whether bytes at an address end where a block of the device does, or before; true for other memory.
inline bool fits(const void* address, size_t bytes) {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const auto begin = reinterpret_cast<uintptr_t>(address);
  auto block = memory.blocks.upper_bound(begin);
  if (block == memory.blocks.begin()) return true;
  --block;
  return begin >= block->first + block->second || begin + bytes <= block->first + block->second;
}

template <typename T>
cudaError_t make(T** made, int32_t& count) {
  const cudaError_t error = enter_unrecorded();
  if (error != cudaSuccess) return error;
  *made = new T{};
  ++count;
  return cudaSuccess;
}

template <typename T>
cudaError_t destroy(T* made, int32_t& count) {
  delete made;
  --count;
  return enter();
}

}  // namespace emulator

struct cudaDeviceProp {
  char name[32];
  int major, minor;
};
struct cudaFuncAttributes {};

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return "unrecognized error code";
  }
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = emulator_card.runtime;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulator_card.driver;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= emulator::kDevices) return cudaErrorInvalidDevice;
  emulator::device = device;
  return emulator::enter();
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = emulator::device;
  return emulator::enter();
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  std::snprintf(properties->name, sizeof properties->name, "Emulated %c", "AB"[device]);
  properties->major = 9;
  properties->minor = 0;
  return emulator::enter();
}
template <typename Function>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Function) {
  const cudaError_t error = emulator::enter();
  return error != cudaSuccess ? error : static_cast<cudaError_t>(emulator_card.image);
}

inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const cudaError_t error = emulator::enter_unrecorded();
  if (error != cudaSuccess) return error;
  const std::lock_guard<std::mutex> lock(emulator::memory.mutex);
  if (emulator_card.room < static_cast<int64_t>(bytes)) return cudaErrorMemoryAllocation;
  emulator_card.room -= static_cast<int64_t>(bytes);
  ++emulator_card.blocks;
  *memory = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
  std::memset(*memory, 0xcd, bytes);
  emulator::memory.blocks[reinterpret_cast<uintptr_t>(*memory)] = bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  const cudaError_t error = emulator::enter_unrecorded();
  if (error != cudaSuccess || memory == nullptr) return error;
  const std::lock_guard<std::mutex> lock(emulator::memory.mutex);
  const auto block = emulator::memory.blocks.find(reinterpret_cast<uintptr_t>(memory));
  if (block == emulator::memory.blocks.end()) return cudaErrorInvalidValue;
  emulator_card.room += static_cast<int64_t>(block->second);
  --emulator_card.blocks;
  emulator::memory.blocks.erase(block);
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const cudaError_t error = emulator::enter_unrecorded();
  if (error != cudaSuccess) return error;
  ++emulator_card.host_blocks;
  *memory = std::malloc(bytes + 1);
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  --emulator_card.host_blocks;
  return emulator::enter();
}

enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3, cudaMemcpyDefault = 4 };

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (!emulator::fits(to, bytes) || !emulator::fits(from, bytes)) return cudaErrorInvalidValue;
  return emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}
inline cudaError_t cudaMemcpy2DAsync(void* to, size_t to_stride, const void* from, size_t from_stride, size_t bytes,
                                     size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] {
    for (size_t y = 0; y < rows; ++y) {
      std::memcpy(static_cast<char*>(to) + y * to_stride, static_cast<const char*>(from) + y * from_stride, bytes);
    }
  });
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] { std::memset(memory, value, bytes); });
}

enum { cudaStreamNonBlocking = 1 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const cudaError_t error = emulator::make(stream, emulator_card.streams);
  if (error == cudaSuccess) (*stream)->device = emulator::device;
  return error;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return emulator::destroy(stream, emulator_card.streams); }
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t error = emulator::enter_unrecorded();
  if (stream == nullptr || error == cudaErrorStreamCaptureUnsupported) return error;
  std::vector<Work> work;
  work.swap(stream->work);  // which is over, done or not, when the failure of some of it is told
  if (error != cudaSuccess) return error;
  ++emulator_card.waits;
  for (const Work& piece : work) {
    piece();
    ++emulator_card.done;
  }
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const cudaError_t error = emulator::enter_unrecorded();
  if (error != cudaSuccess) return error;
  emulator::recording = stream;
  stream->is_recording = true;
  stream->is_spoiled = false;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  emulator::recording = nullptr;
  stream->is_recording = false;
  std::vector<Work> work;
  work.swap(stream->recorded);
  if (stream->is_spoiled) return cudaErrorStreamCaptureInvalidated;
  const cudaError_t error = emulator::make(graph, emulator_card.graphs);
  if (error == cudaSuccess) (*graph)->work = std::move(work);
  return error;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return emulator::destroy(graph, emulator_card.graphs); }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return cudaGraphDestroy(graph); }
inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  const cudaError_t error = emulator::make(ready, emulator_card.graphs);
  if (error == cudaSuccess) (*ready)->work = graph->work;
  return error;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  ++emulator_card.launches;
  return emulator::enqueue(stream, [work = graph->work] {
    for (const Work& piece : work) piece();
  });
}

inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return emulator::make(event, emulator_card.events); }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return emulator::destroy(event, emulator_card.events); }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] { event->time = emulator_card.done; });
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t first, cudaEvent_t second) {
  *milliseconds = static_cast<float>(second->time - first->time);  // a piece of work takes one
  return emulator::enter();
}
