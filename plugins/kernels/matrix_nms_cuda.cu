// Four launches: rank the candidates class by class, intersect the masks of each class in tiles of 16 x 16 pairs, turn
// each row of overlaps into a decay, and rank what is left. Overlaps are integer counts, and maxima and minima do not
// depend on their order, so the result is the same in every run.
#include "block_sort.cuh"
#include "decay.h"
#include "launch.cuh"
#include "matrix_nms_cuda.h"
#include "ordering.h"

namespace solo {
namespace {

constexpr int kSortThreads = 1024;
constexpr int kTile = 16;   // masks on either side of a block of pairs; one thread per pair
constexpr int kChunk = 64;  // words of a mask in shared memory at a time
constexpr int kPairThreads = kTile * kTile;
constexpr int kDecayThreads = 256;

// One picture's ranked candidates: class by class, each from the best to the worst.
struct Ranking {
  int* count;        // candidates that are left
  int32_t* slots;    // [slots]
  int32_t* classes;  // [slots]
  float* scores;     // [slots]
  float* decayed;    // [slots]
  float* worst;      // [slots] largest iou with a better mask
  float* ious;       // [slots, slots]: row j holds those with the better masks i < j of its class
};

struct Workspace {
  Workspace(void* memory, const SoloNmsOptions& o) : carver(memory), slots(o.slots) {
    const int64_t all = int64_t{o.batch} * o.slots;
    first.count = carver.take<int>(o.batch);
    first.slots = carver.take<int32_t>(all);
    first.classes = carver.take<int32_t>(all);
    first.scores = carver.take<float>(all);
    first.decayed = carver.take<float>(all);
    first.worst = carver.take<float>(all);
    first.ious = carver.take<float>(all * o.slots);
  }

  Carver carver;
  int slots;
  Ranking first;  // of the first picture
};

__device__ Ranking ranking_of(const Ranking& first, int picture, int slots) {
  const int64_t skip = int64_t{picture} * slots;
  return {first.count + picture, first.slots + skip, first.classes + skip,     first.scores + skip,
          first.decayed + skip,  first.worst + skip, first.ious + skip * slots};
}

__device__ int stride_of(const SoloNmsOptions& o, int cell) {
  int level = 0;
  for (int end = o.grids[0] * o.grids[0]; cell >= end && level + 1 < o.levels;) {
    ++level;
    end += o.grids[level] * o.grids[level];
  }
  return o.strides[level];
}

__global__ void __launch_bounds__(kSortThreads)
    rank(SoloNmsOptions o, const float* scores, const int32_t* candidates, const int32_t* counts, const int32_t* areas,
         const float* soft_sums, Ranking first) {
  __shared__ Ranked best[SOLO_MAX_SLOTS];
  __shared__ int kept;
  const int picture = blockIdx.x;
  const int64_t skip = int64_t{picture} * o.slots;
  const Ranking out = ranking_of(first, picture, o.slots);
  const int n = min(counts[2 * picture], o.slots);
  if (threadIdx.x == 0) kept = 0;
  __syncthreads();
  for (int k = threadIdx.x; k < n; k += kSortThreads) {
    const int cell = candidates[skip + k] / o.classes, class_id = candidates[skip + k] % o.classes;
    const int area = areas[skip + k];
    const float score = scores[skip + k] * (soft_sums[skip + k] / static_cast<float>(area));
    if (area > stride_of(o, cell) && score == score) {  // not NaN
      best[atomicAdd(&kept, 1)] = {class_rank_key(class_id, score, cell), k};
    }
  }
  __syncthreads();
  const int size = sort_size(kept);
  for (int i = kept + threadIdx.x; i < size; i += kSortThreads) best[i] = {~uint64_t{0}, 0};
  __syncthreads();
  sort_block(best, size);
  for (int i = threadIdx.x; i < kept; i += kSortThreads) {
    out.slots[i] = best[i].value;
    out.classes[i] = class_of_key(best[i].key);
    out.scores[i] = score_of_class_key(best[i].key);
    out.worst[i] = 0.0f;
  }
  if (threadIdx.x == 0) *out.count = kept;
}

// Copies a chunk of the masks of kTile ranks to shared memory, zeros where there is none.
__device__ void load_chunk(const uint32_t* masks, const Ranking& ranking, int first_rank, int count, int words,
                           int first_word, uint32_t (&chunk)[kTile][kChunk + 1]) {
  for (int i = threadIdx.x; i < kTile * kChunk; i += kPairThreads) {
    const int rank = first_rank + i / kChunk, word = first_word + i % kChunk;
    const bool exists = rank < count && word < words;
    chunk[i / kChunk][i % kChunk] = exists ? masks[int64_t{ranking.slots[rank]} * words + word] : 0;
  }
}

__global__ void __launch_bounds__(kPairThreads)
    intersect(const uint32_t* masks, const int32_t* areas, int words, int slots, Ranking first) {
  __shared__ uint32_t better[kTile][kChunk + 1], later[kTile][kChunk + 1];
  const int picture = blockIdx.z, first_better = blockIdx.x * kTile, first_later = blockIdx.y * kTile;
  const Ranking ranking = ranking_of(first, picture, slots);
  const int count = *ranking.count;
  if (blockIdx.x > blockIdx.y || first_later >= count) return;
  // The classes ascend, so if the last of the better ones is below the first of the later ones, no two are equal.
  if (ranking.classes[min(first_better + kTile, count) - 1] < ranking.classes[first_later]) return;
  masks += int64_t{picture} * slots * words;
  areas += int64_t{picture} * slots;

  const int column = threadIdx.x % kTile, row = threadIdx.x / kTile;
  int common = 0;
  for (int word = 0; word < words; word += kChunk) {
    load_chunk(masks, ranking, first_better, count, words, word, better);
    load_chunk(masks, ranking, first_later, count, words, word, later);
    __syncthreads();
#pragma unroll 16
    for (int w = 0; w < kChunk; ++w) common += __popc(better[column][w] & later[row][w]);
    __syncthreads();
  }
  const int i = first_better + column, j = first_later + row;
  if (i >= j || j >= count || ranking.classes[i] != ranking.classes[j]) return;
  const float iou = mask_iou(common, areas[ranking.slots[i]], areas[ranking.slots[j]]);
  ranking.ious[int64_t{j} * slots + i] = iou;
  // Bits of floats that are not negative are ordered as the floats are.
  if (common > 0) atomicMax(reinterpret_cast<int*>(ranking.worst + j), __float_as_int(iou));
}

// One warp per candidate.
__global__ void __launch_bounds__(kDecayThreads) decay(int slots, bool linear, float sigma, Ranking first) {
  const int j = (blockIdx.x * kDecayThreads + threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  const Ranking ranking = ranking_of(first, blockIdx.y, slots);
  if (j >= *ranking.count) return;
  float least = neutral_quotient(linear);
  for (int i = lane; i < j; i += kWarp) {
    if (ranking.classes[i] != ranking.classes[j]) continue;  // there is no overlap in memory
    least = fminf(least, decay_quotient(ranking.ious[int64_t{j} * slots + i], ranking.worst[i], linear));
  }
  for (int step = kWarp / 2; step > 0; step /= 2) least = fminf(least, __shfl_xor_sync(kFullWarp, least, step));
  if (lane == 0) ranking.decayed[j] = ranking.scores[j] * (linear ? least : expf(sigma * least));
}

struct Instances {
  int32_t* num_dets;
  float* scores;
  int32_t *labels, *cells, *slots;
};

__global__ void __launch_bounds__(kSortThreads)
    keep(SoloNmsOptions o, const int32_t* candidates, Ranking first, Instances out) {
  __shared__ Ranked best[SOLO_MAX_SLOTS];
  __shared__ int kept;
  const int picture = blockIdx.x;
  const Ranking ranking = ranking_of(first, picture, o.slots);
  candidates += int64_t{picture} * o.slots;
  const int count = *ranking.count;
  if (threadIdx.x == 0) kept = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += kSortThreads) {
    const int slot = ranking.slots[i];
    const float score = ranking.decayed[i];
    if (score >= o.update_threshold) best[atomicAdd(&kept, 1)] = {rank_key(score, candidates[slot]), slot};
  }
  __syncthreads();
  const int size = sort_size(kept);
  for (int i = kept + threadIdx.x; i < size; i += kSortThreads) best[i] = {~uint64_t{0}, 0};
  __syncthreads();
  sort_block(best, size);
  const int n = min(kept, o.max_instances);
  for (int i = threadIdx.x; i < o.max_instances; i += kSortThreads) {
    const int64_t place = int64_t{picture} * o.max_instances + i;
    const bool exists = i < n;
    const int candidate = exists ? index_of_key(best[i].key) : 0;
    out.scores[place] = exists ? score_of_key(best[i].key) : 0.0f;
    out.labels[place] = candidate % o.classes;
    out.cells[place] = candidate / o.classes;
    out.slots[place] = exists ? best[i].value : 0;
  }
  if (threadIdx.x == 0) out.num_dets[picture] = n;
}

int check(const SoloNmsOptions& o) {
  if (o.batch < 1 || o.batch > kMaxGridRows || o.slots < 1 || o.slots > SOLO_MAX_SLOTS || o.words < 1) {
    return SOLO_BAD_SIZE;
  }
  if (o.levels < 1 || o.levels > SOLO_MAX_LEVELS || o.classes < 1 || o.classes > SOLO_MAX_CLASSES) return SOLO_BAD_SIZE;
  int64_t cells = 0;
  for (int i = 0; i < o.levels; ++i) {
    if (o.grids[i] < 1) return SOLO_BAD_SIZE;
    cells += int64_t{o.grids[i]} * o.grids[i];
  }
  if (cells > SOLO_MAX_CELLS || o.max_instances < 1 || o.max_instances > o.slots) return SOLO_BAD_SIZE;
  return (o.linear == 0 || o.linear == 1) && o.sigma > 0.0f ? SOLO_OK : SOLO_BAD_ARGUMENT;
}

}  // namespace
}  // namespace solo

using namespace solo;

int64_t solo_cuda_matrix_nms_workspace(const SoloNmsOptions* options) {
  return Workspace(nullptr, *options).carver.used();
}

int solo_cuda_matrix_nms(const SoloNmsOptions* options, const float* scores, const int32_t* candidates,
                         const int32_t* counts, const uint32_t* masks, const int32_t* areas, const float* soft_sums,
                         void* workspace, int64_t workspace_bytes, int32_t* num_dets, float* out_scores,
                         int32_t* labels, int32_t* cells, int32_t* out_slots, void* stream) {
  const SoloNmsOptions& o = *options;
  const int bad = check(o);
  if (bad != SOLO_OK) return bad;
  if (workspace_bytes < solo_cuda_matrix_nms_workspace(options)) return SOLO_TOO_SMALL;
  const Ranking ranking = Workspace(workspace, o).first;
  const auto tiles = static_cast<unsigned>(ceil_div(o.slots, kTile));
  const auto decay_blocks = static_cast<unsigned>(ceil_div(int64_t{o.slots} * kWarp, kDecayThreads));

  int status =
      launch(rank, dim3(o.batch), kSortThreads, stream, o, scores, candidates, counts, areas, soft_sums, ranking);
  if (status != SOLO_OK) return status;
  status =
      launch(intersect, dim3(tiles, tiles, o.batch), kPairThreads, stream, masks, areas, o.words, o.slots, ranking);
  if (status != SOLO_OK) return status;
  status = launch(decay, dim3(decay_blocks, o.batch), kDecayThreads, stream, o.slots, o.linear != 0, o.sigma, ranking);
  if (status != SOLO_OK) return status;
  const Instances out{num_dets, out_scores, labels, cells, out_slots};
  return launch(keep, dim3(o.batch), kSortThreads, stream, o, candidates, ranking, out);
}
