// Enough of CUDA to run the kernels of plugins/kernels on the CPU, one block after another, for tests.
//
// A thread of a block is a fiber; the fibers of a block take turns in an order that changes at every barrier, so that a
// missing barrier shows as a wrong result sooner or later. Shared memory is static memory. Asynchronous copies happen
// when they are waited for and not before. Warp operations and matrix fragments are in warp.h and mma.h.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "card.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

using std::max;
using std::min;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr int kWarp = 32;
constexpr size_t kStack = 64 << 10;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fiber {
  ucontext_t context;
  State state = State::kReady;
  unsigned long block_turn = 0, warp_turn = 0;  // barriers passed, of which the parity selects a mailbox
  std::vector<std::vector<Copy>> copies;        // groups that were committed and not waited for, and the open one
};

// What threads tell each other at a barrier; two of each, because the next one fills while the last one is read.
struct WarpMail {
  uint64_t values[2][kWarp];
  unsigned present[2];
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<WarpMail> warps;
  int any[2] = {0, 0};
  std::function<void()> body;
  std::vector<char> stacks;
  ucontext_t scheduler;
  int current = 0;
};

inline Block* block = nullptr;  // the one of all threads of the host that runs, which holds `running`
inline std::mutex running;

inline Fiber& self() { return block->fibers[static_cast<size_t>(block->current)]; }

inline void wait(State state) {
  Fiber& fiber = self();
  fiber.state = state;
  swapcontext(&fiber.context, &block->scheduler);
}

inline void start_fiber() {
  block->body();
  self().state = State::kDone;
  swapcontext(&self().context, &block->scheduler);
}

// Lets everyone pass a barrier at which all the fibers [begin, end) that are not done have arrived.
inline bool release(int begin, int end, State barrier) {
  bool any = false;
  for (int i = begin; i < end; ++i) {
    const State state = block->fibers[static_cast<size_t>(i)].state;
    if (state != barrier && state != State::kDone) return false;
    any |= state == barrier;
  }
  unsigned present = 0;
  int first = -1;
  for (int i = begin; any && i < end; ++i) {
    Fiber& fiber = block->fibers[static_cast<size_t>(i)];
    if (fiber.state != barrier) continue;
    if (first < 0) first = i;
    fiber.state = State::kReady;
    present |= 1u << (i - begin) % kWarp;
  }
  if (any && barrier == State::kAtBlockBarrier) {
    const auto turn = block->fibers[static_cast<size_t>(first)].block_turn;
    block->any[(turn + 1) % 2] = 0;  // read by everyone, and not yet written for the next barrier
  }
  if (any && barrier == State::kAtWarpBarrier) {
    const auto turn = block->fibers[static_cast<size_t>(first)].warp_turn;
    block->warps[static_cast<size_t>(begin / kWarp)].present[turn % 2] = present;
  }
  return any;
}

inline void run_block() {
  const int count = static_cast<int>(block->fibers.size());
  unsigned order = 1;
  for (bool alive = true; alive;) {
    order = order * 1664525u + 1013904223u;
    const int first = static_cast<int>(order >> 8) % count, step = order >> 31 ? count - 1 : 1;
    bool ran = false;
    alive = false;
    for (int k = 0, i = first; k < count; ++k, i = (i + step) % count) {
      Fiber& fiber = block->fibers[static_cast<size_t>(i)];
      alive |= fiber.state != State::kDone;
      if (fiber.state != State::kReady) continue;
      block->current = i;
      threadIdx = dim3(static_cast<unsigned>(i), 0, 0);
      swapcontext(&block->scheduler, &fiber.context);
      ran = true;
    }
    bool released = release(0, count, State::kAtBlockBarrier);
    for (int w = 0; w < count; w += kWarp) released |= release(w, std::min(w + kWarp, count), State::kAtWarpBarrier);
    if (alive && !ran && !released) {
      std::fprintf(stderr, "emulator: the threads of a block wait for each other at different barriers\n");
      std::abort();
    }
  }
}

inline void start_block(int threads, const std::function<void()>& body) {
  block->body = body;
  block->fibers = std::vector<Fiber>(static_cast<size_t>(threads));
  block->warps.assign(static_cast<size_t>(threads + kWarp - 1) / kWarp, WarpMail{});
  block->stacks.resize(static_cast<size_t>(threads) * kStack);
  for (int i = 0; i < threads; ++i) {
    ucontext_t& context = block->fibers[static_cast<size_t>(i)].context;
    getcontext(&context);
    context.uc_stack.ss_sp = block->stacks.data() + static_cast<size_t>(i) * kStack;
    context.uc_stack.ss_size = kStack;
    context.uc_link = nullptr;
    makecontext(&context, start_fiber, 0);
  }
  run_block();
}

inline void run_grid(dim3 grid, dim3 threads, const std::function<void()>& body) {
  Block memory;
  block = &memory;
  gridDim = grid;
  blockDim = threads;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        start_block(static_cast<int>(threads.x), body);
      }
    }
  }
}

}  // namespace emulator

inline void __syncthreads() {
  emulator::wait(emulator::State::kAtBlockBarrier);
  ++emulator::self().block_turn;
}

inline int __syncthreads_or(int predicate) {
  const auto turn = emulator::self().block_turn % 2;
  emulator::block->any[turn] |= predicate != 0;
  __syncthreads();
  return emulator::block->any[turn];
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const dim3 grid = config->gridDim, threads = config->blockDim;
  if (threads.x < 1 || threads.x > 1024 || grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  const std::tuple<Parameters...> held(static_cast<Parameters>(arguments)...);
  return emulator::enqueue(config->stream, [=] {
    const std::lock_guard<std::mutex> lock(emulator::running);
    emulator::run_grid(grid, threads, [&] { std::apply(kernel, held); });
  });
}

template <typename T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to += value;
  return old;
}
template <typename T>
T atomicMin(T* to, T value) {
  const T old = *to;
  *to = std::min(old, value);
  return old;
}
template <typename T>
T atomicMax(T* to, T value) {
  const T old = *to;
  *to = std::max(old, value);
  return old;
}

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clzll(long long value) {
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

#include "warp.h"
