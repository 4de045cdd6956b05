// Runs independent pieces of one kernel call on a few threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace solo {

// Calls body(thread, piece) once for every piece in [0, pieces), on at most `threads` threads including the caller's,
// and returns when all are done. Which thread takes which piece is up to chance, so the pieces must not depend on it:
// a piece writes only what is its own, and `thread` in [0, threads) only selects scratch memory. `body` must not throw.
template <typename Body>
void parallel_for(int threads, int64_t pieces, const Body& body) {
  std::atomic<int64_t> next{0};
  const auto work = [&](int thread) {
    for (int64_t piece = next++; piece < pieces; piece = next++) body(thread, piece);
  };
  std::vector<std::thread> helpers;
  helpers.reserve(threads > 1 ? threads - 1 : 0);
  for (int thread = 1; thread < threads && thread < pieces; ++thread) {
    try {
      helpers.emplace_back(work, thread);
    } catch (const std::system_error&) {
      break;  // the system has no thread to spare: the ones there are take all the pieces
    }
  }
  work(0);
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace solo
