// One block, a thread per instance: a chosen one has fewer than max_dets before it, which warps count by their votes.
#include "choice_cuda.h"
#include "launch.cuh"

namespace solo {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

struct Instances {
  const int32_t* count;
  const float* scores;
  const int32_t *labels, *regions;
  const uint8_t* table;
};

__global__ void __launch_bounds__(kThreads)
    choose(SoloChoice choice, Instances instances, int32_t* chosen, uint8_t* colours) {
  __shared__ int votes[kWarps];
  const int count = min(*instances.count, choice.slots), warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  int before = 0;  // suitable ones of the rounds so far
  for (int start = 0; start < choice.slots; start += kThreads) {
    const int i = start + static_cast<int>(threadIdx.x);
    const int label = i < count ? instances.labels[i] : -1;
    const bool known = label >= 0 && label < choice.classes;
    const uint8_t* entry = instances.table + 4 * (known ? label : 0);
    const bool suits = known && entry[3] != 0 && instances.scores[i] >= choice.min_score;
    const unsigned mine = __ballot_sync(kFullWarp, suits);
    __syncthreads();  // the last round's votes are read
    if (lane == 0) votes[warp] = __popc(mine);
    __syncthreads();
    int rank = before + __popc(mine & ((1u << lane) - 1));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) rank += votes[w];
      before += votes[w];
    }
    if (i >= choice.slots) continue;
    const bool taken = suits && rank < choice.max_dets;
    for (int k = 0; k < 4; ++k) chosen[4 * i + k] = taken ? instances.regions[4 * i + k] : 0;
    for (int c = 0; c < 3; ++c) colours[3 * i + c] = taken ? entry[c] : 0;
  }
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_choose(const SoloChoice* choice, const int32_t* count, const float* scores, const int32_t* labels,
                     const int32_t* regions, const uint8_t* table, int32_t* chosen, uint8_t* colours, void* stream) {
  if (choice->slots < 1 || choice->slots > SOLO_MAX_SLOTS) return SOLO_BAD_SIZE;
  if (choice->classes < 1 || choice->classes > SOLO_MAX_CLASSES) return SOLO_BAD_SIZE;
  if (choice->max_dets < 1) return SOLO_BAD_ARGUMENT;
  const Instances instances{count, scores, labels, regions, table};
  return launch(choose, dim3(1), kThreads, stream, *choice, instances, chosen, colours);
}
