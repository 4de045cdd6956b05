// Runs independent pieces of one kernel call on a few threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace solo {

constexpr int64_t kFewMasks = 8;  // below this many, work of some 20 us per mask is not worth starting a thread for

// How many of the threads are worth using on so many masks, a piece each.
inline int threads_for_masks(int64_t masks, int threads) {
  return masks < kFewMasks ? 1 : static_cast<int>(std::min<int64_t>(threads, masks));
}

constexpr int64_t kGap = 16;  // floats to leave between what two threads add to: for a line they share both would wait

constexpr int64_t kMostWorkspace = int64_t{1} << 40;  // bytes: more than any picture needs, far from 2^63

// Bytes of a workspace of which every thread has a part and all share another; -1 if they are more than kMostWorkspace.
inline int64_t workspace_of(int64_t shared, int64_t each, int threads) {
  return shared > kMostWorkspace || each > (kMostWorkspace - shared) / threads ? -1 : shared + threads * each;
}

// Calls body(thread, piece) once for every piece in [0, pieces), on at most `threads` threads including the caller's,
// and returns when all are done. Which thread takes which piece is up to chance, so the pieces must not depend on it:
// a piece writes only what is its own, and `thread` in [0, threads) only selects scratch memory. Where body throws, no
// further piece is begun, and when all threads have ended, the first exception goes on to the caller.
template <typename Body>
void parallel_for(int threads, int64_t pieces, const Body& body) {
  std::atomic<int64_t> next{0};
  std::atomic_flag has_failed = ATOMIC_FLAG_INIT;
  std::exception_ptr failure;  // belongs to the thread that set the flag, and after the joins to the caller's
  const auto work = [&](int thread) {
    try {
      for (int64_t piece = next++; piece < pieces; piece = next++) body(thread, piece);
    } catch (...) {
      next = pieces;
      if (!has_failed.test_and_set()) failure = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  const int64_t useful = std::min<int64_t>(threads, pieces);
  try {
    helpers.reserve(useful > 1 ? useful - 1 : 0);
    for (int thread = 1; thread < useful; ++thread) helpers.emplace_back(work, thread);
  } catch (const std::exception&) {
    // The system has no thread or no memory for one to spare: the ones there are take all the pieces.
  }
  work(0);
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace solo
