// Asynchronous copies to shared memory: they happen when they are waited for, which is as late as they may.
#pragma once

#include "cuda_runtime.h"

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes != 0) std::abort();
  auto& groups = emulator::self().copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back({to, from, bytes});
}

inline void __pipeline_commit() { emulator::self().copies.emplace_back(); }

inline void __pipeline_wait_prior(size_t newest) {
  auto& groups = emulator::self().copies;  // the last one is open and does not count
  while (groups.size() > newest + 1) {
    for (const emulator::Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}
