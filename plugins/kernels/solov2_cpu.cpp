#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "candidates.h"
#include "dynamic_conv.h"
#include "mask_regions.h"
#include "matrix_nms.h"
#include "soft_value.h"
#include "solov2.h"

namespace solo {
namespace {

struct Candidate {
  float score;
  int32_t index;  // cell * classes + class_id
  int32_t row;    // of the bit masks: one per cell that has a candidate
};

// Memory that is written before it is read. None for a negative count: whoever asks for it then refuses the sizes.
template <typename T>
std::unique_ptr<T[]> uninitialised(int64_t count) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(std::max<int64_t>(count, 0))]);
}

bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.index < b.index;
}

void sort_and_cut(std::vector<Candidate>& candidates, int64_t limit) {
  const int64_t kept = std::min<int64_t>(limit, static_cast<int64_t>(candidates.size()));
  std::partial_sort(candidates.begin(), candidates.begin() + kept, candidates.end(), ranks_before);
  candidates.resize(static_cast<size_t>(kept));
}

// Finds the candidates and, in `cells`, the distinct cells they belong to.
Status scan(const Solov2Tensors& t, const Solov2Options& o, std::vector<Candidate>& candidates,
            std::vector<int32_t>& cells) {
  const int64_t count = t.cells * t.classes;
  const auto indices = uninitialised<int32_t>(count);
  int64_t found = 0;
  const Status status = find_candidates(t.scores, count, o.score_threshold, indices.get(), count, &found);
  if (status != Status::kOk) return status;
  candidates.reserve(static_cast<size_t>(found));
  for (int64_t i = 0; i < found; ++i) {
    const int32_t cell = static_cast<int32_t>(indices[i] / t.classes);
    if (cells.empty() || cells.back() != cell) cells.push_back(cell);
    candidates.push_back({t.scores[indices[i]], indices[i], static_cast<int32_t>(cells.size() - 1)});
  }
  return Status::kOk;
}

// Drops the candidates with small masks and multiplies the other scores by maskness, the mean soft value of a mask.
void rescore(const Solov2Tensors& t, const std::vector<int32_t>& cells, const int32_t* areas, const float* soft_sums,
             std::vector<Candidate>& candidates) {
  size_t kept = 0;
  for (const Candidate& c : candidates) {
    if (areas[c.row] <= t.cell_strides[cells[c.row]]) continue;
    const float score = c.score * (soft_sums[c.row] / static_cast<float>(areas[c.row]));
    if (!std::isnan(score)) candidates[kept++] = {score, c.index, c.row};
  }
  candidates.resize(kept);
}

// Lowers the scores of ranked candidates by their overlaps.
Status decay(const Solov2Tensors& t, const Solov2Options& o, const uint64_t* bits, const int32_t* areas,
             std::vector<Candidate>& candidates) {
  const int64_t n = static_cast<int64_t>(candidates.size());
  std::vector<int32_t> rows, mask_areas, class_ids;
  std::vector<float> scores;
  for (const Candidate& c : candidates) {
    rows.push_back(c.row);
    mask_areas.push_back(areas[c.row]);
    class_ids.push_back(static_cast<int32_t>(c.index % t.classes));
    scores.push_back(c.score);
  }
  const auto workspace = uninitialised<int32_t>(matrix_nms_workspace(n) / static_cast<int64_t>(sizeof(int32_t)));
  std::vector<float> decayed(scores.size());
  const RankedMasks masks{
      bits, rows.data(), mask_areas.data(), class_ids.data(), scores.data(), n, mask_words(t.height, t.width)};
  const Status status =
      matrix_nms(masks, o.linear, o.sigma, o.isa, workspace.get(), matrix_nms_workspace(n), decayed.data());
  for (int64_t i = 0; i < n; ++i) candidates[i].score = decayed[i];
  return status;
}

// Fills `out` from the final candidates, all but the soft values.
Status describe(const Solov2Tensors& t, const uint64_t* bits, const std::vector<Candidate>& candidates,
                Solov2Instances* out) {
  const int64_t n = static_cast<int64_t>(candidates.size());
  std::vector<int32_t> rows;
  for (const Candidate& c : candidates) {
    rows.push_back(c.row);
    out->scores.push_back(c.score);
    out->class_ids.push_back(static_cast<int32_t>(c.index % t.classes));
    out->cells.push_back(static_cast<int32_t>(c.index / t.classes));
  }
  out->regions.resize(static_cast<size_t>(4 * n));
  const Status status = mask_regions(bits, rows.data(), n, t.height, t.width, out->regions.data());
  out->offsets.assign(1, 0);
  for (int64_t i = 0; i < n; ++i) {
    const int32_t* region = out->regions.data() + 4 * i;
    const int64_t area = static_cast<int64_t>(region[2] - region[0]) * (region[3] - region[1]);
    out->offsets.push_back(out->offsets.back() + area);
  }
  out->data.resize(static_cast<size_t>(out->offsets.back()));
  return status;
}

}  // namespace

Status solov2_decode(const Solov2Tensors& t, const Solov2Options& o, Solov2Instances* out) {
  if (t.cells < 0 || t.classes < 1 || t.channels < 1 || t.height < 1 || t.width < 1) return Status::kBadSize;
  if (o.nms_pre < 1 || o.max_instances < 1 || o.threads < 1) return Status::kBadArgument;
  if (!(o.mask_threshold >= 0.0 && o.mask_threshold < 1.0)) return Status::kBadArgument;
  *out = {};
  const float logit_threshold = logit_of(o.mask_threshold);

  std::vector<Candidate> candidates;
  std::vector<int32_t> cells;
  Status status = scan(t, o, candidates, cells);
  if (status != Status::kOk) return status;

  const int64_t rows = static_cast<int64_t>(cells.size());
  const DynamicConv found{t.kernels, cells.data(), t.features, rows, t.channels, t.height, t.width};
  int64_t workspace_bytes = dynamic_conv_workspace(found, o.threads);
  auto workspace = uninitialised<uint8_t>(workspace_bytes);
  const auto bits = uninitialised<uint64_t>(rows * mask_words(t.height, t.width));
  std::vector<int32_t> areas(cells.size());
  std::vector<float> soft_sums(cells.size());
  status = binarise_masks(found, logit_threshold, o.threads, o.isa, workspace.get(), workspace_bytes, bits.get(),
                          areas.data(), soft_sums.data());
  if (status != Status::kOk) return status;

  rescore(t, cells, areas.data(), soft_sums.data(), candidates);
  sort_and_cut(candidates, o.nms_pre);
  status = decay(t, o, bits.get(), areas.data(), candidates);
  if (status != Status::kOk) return status;
  const auto too_low = [&](const Candidate& c) { return !(c.score >= o.update_threshold); };
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(), too_low), candidates.end());
  sort_and_cut(candidates, o.max_instances);

  status = describe(t, bits.get(), candidates, out);
  if (status != Status::kOk) return status;
  const int64_t n = static_cast<int64_t>(candidates.size());
  const DynamicConv kept{t.kernels, out->cells.data(), t.features, n, t.channels, t.height, t.width};
  workspace_bytes = dynamic_conv_workspace(kept, o.threads);
  workspace = uninitialised<uint8_t>(workspace_bytes);
  return crop_masks(kept, logit_threshold, o.threads, o.isa, workspace.get(), workspace_bytes, out->regions.data(),
                    out->offsets.data(), out->data.data());
}

}  // namespace solo
