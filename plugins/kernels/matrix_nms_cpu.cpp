#include <algorithm>
#include <cmath>

#include "decay.h"
#include "matrix_nms.h"

namespace solo {
namespace {

// Scratch memory, carved from the caller's workspace.
struct Workspace {
  int32_t* begins;  // [count] first word with a set bit
  int32_t* ends;    // [count] one behind the last word with a set bit
  float* worst;     // [count] largest iou with a better mask
};

void find_spans(const RankedMasks& masks, const Workspace& scratch) {
  for (int64_t i = 0; i < masks.count; ++i) {
    const uint64_t* mask = masks.bits + masks.rows[i] * masks.words;
    int64_t begin = 0;
    int64_t end = masks.words;
    while (begin < end && mask[begin] == 0) ++begin;
    while (end > begin && mask[end - 1] == 0) --end;
    scratch.begins[i] = static_cast<int32_t>(begin);
    scratch.ends[i] = static_cast<int32_t>(end);
  }
}

SOLO_INLINE void decay_scores(const RankedMasks& masks, bool linear, float sigma, const Workspace& scratch,
                              float* decayed) {
  for (int64_t j = 0; j < masks.count; ++j) {
    const uint64_t* later = masks.bits + masks.rows[j] * masks.words;
    float worst = 0.0f;
    float least = neutral_quotient(linear);
    for (int64_t i = 0; i < j; ++i) {
      if (masks.class_ids[i] != masks.class_ids[j]) continue;
      const uint64_t* better = masks.bits + masks.rows[i] * masks.words;
      const int32_t end = std::min(scratch.ends[i], scratch.ends[j]);
      int64_t common = 0;
      for (int32_t w = std::max(scratch.begins[i], scratch.begins[j]); w < end; ++w) {
        common += __builtin_popcountll(later[w] & better[w]);
      }
      if (common == 0) continue;
      const float iou = mask_iou(common, masks.areas[i], masks.areas[j]);
      worst = std::max(worst, iou);
      least = std::min(least, decay_quotient(iou, scratch.worst[i], linear));
    }
    scratch.worst[j] = worst;
    decayed[j] = masks.scores[j] * (linear ? least : std::exp(sigma * least));
  }
}

using DecayScores = void(const RankedMasks&, bool linear, float sigma, const Workspace&, float* decayed);

void decay_plain(const RankedMasks& masks, bool linear, float sigma, const Workspace& scratch, float* decayed) {
  decay_scores(masks, linear, sigma, scratch, decayed);
}

#if defined(__x86_64__)
// What it gains is the popcount instruction, which plain x86-64 lacks.
SOLO_TARGET_AVX2 void decay_avx2(const RankedMasks& masks, bool linear, float sigma, const Workspace& scratch,
                                 float* decayed) {
  decay_scores(masks, linear, sigma, scratch, decayed);
}
#endif

DecayScores* decay_for([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa != Isa::kPlain) return decay_avx2;
#endif
  return decay_plain;
}

}  // namespace

Status matrix_nms(const RankedMasks& masks, bool linear, float sigma, Isa isa, void* workspace, int64_t workspace_bytes,
                  float* decayed) {
  if (masks.count < 0 || masks.words < 0) return Status::kBadSize;
  if ((!linear && !(sigma > 0.0f)) || !has_isa(isa)) return Status::kBadArgument;
  if (workspace_bytes < matrix_nms_workspace(masks.count)) return Status::kTooSmall;
  auto* memory = static_cast<int32_t*>(workspace);
  const Workspace scratch{memory, memory + masks.count, reinterpret_cast<float*>(memory + 2 * masks.count)};
  find_spans(masks, scratch);
  decay_for(isa)(masks, linear, sigma, scratch, decayed);
  return Status::kOk;
}

}  // namespace solo
