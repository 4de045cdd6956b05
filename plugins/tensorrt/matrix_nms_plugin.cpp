#include "creators.h"
#include "matrix_nms_cuda.h"
#include "plugin.h"

namespace solo::trt {
namespace {

struct MatrixNms {
  static constexpr const char* kName = "SoloMatrixNms";
  static constexpr int32_t kInputs = 6;
  static constexpr int32_t kAxes[] = {2, 2, 2, 3, 2, 2};
  enum Input { kScores, kCandidates, kCounts, kMasks, kAreas, kSoftSums };
  enum Output { kNumDets, kBestScores, kLabels, kCells, kSlots };
  static constexpr Kind kTensors[] = {Kind::kFloat, Kind::kInt,   Kind::kInt, Kind::kInt, Kind::kInt, Kind::kFloat,
                                      Kind::kInt,   Kind::kFloat, Kind::kInt, Kind::kInt, Kind::kInt};

  int32_t num_classes = 1;
  Numbers grids{5, {40, 36, 24, 16, 12}};
  Numbers level_strides{5, {8, 8, 16, 32, 32}};
  int32_t linear = 0;
  float sigma = 2.0f;
  float update_threshold = 0.05f;
  int32_t max_instances = 100;

  template <typename Self, typename Visit>
  static void each(Self& self, const Visit& visit) {
    visit("num_classes", self.num_classes);
    visit("grids", self.grids);
    visit("level_strides", self.level_strides);
    visit("linear", self.linear);
    visit("sigma", self.sigma);
    visit("update_threshold", self.update_threshold);
    visit("max_instances", self.max_instances);
  }

  const char* problem() const {
    if (num_classes < 1 || num_classes > SOLO_MAX_CLASSES) return "num_classes: expected 1..65536";
    if (grids.count != level_strides.count) return "level_strides: expected as many as grids";
    int64_t cells = 0;
    for (int i = 0; i < grids.count; ++i) {
      if (grids.values[i] < 1 || level_strides.values[i] < 0) return "grids, level_strides: expected positive numbers";
      cells += int64_t{grids.values[i]} * grids.values[i];
    }
    if (cells > SOLO_MAX_CELLS) return "grids: expected at most 65536 cells";
    if (linear != 0 && linear != 1) return "linear: expected 0 or 1";
    if (!(sigma > 0.0f)) return "sigma: expected more than 0";
    if (!(update_threshold == update_threshold)) return "update_threshold: expected a number";
    return max_instances >= 1 ? nullptr : "max_instances: expected at least 1";
  }

  const char* mismatch(const Dims* in) const {
    for (int i = 1; i < kInputs; ++i) {
      if (in[i].d[0] != in[0].d[0]) return "expected inputs of one batch size";
      if (i != kCounts && in[i].d[1] != in[0].d[1]) return "expected inputs of one number of slots";
    }
    if (in[kCounts].d[1] != 2) return "counts: expected two numbers for each picture";
    if (in[kScores].d[1] > SOLO_MAX_SLOTS) return "expected at most 2048 slots";
    return max_instances <= in[kScores].d[1] ? nullptr : "max_instances: expected at most the number of slots";
  }

  void shapes(const DimsExprs* in, Shapes& to, DimsExprs* out) const {
    const IDimensionExpr *batch = in[kScores].d[0], *instances = to.number(max_instances);
    to.set(&out[kNumDets], {batch, to.number(1)});
    for (const Output output : {kBestScores, kLabels, kCells, kSlots}) to.set(&out[output], {batch, instances});
  }

  SoloNmsOptions options(const PluginTensorDesc* in) const {
    SoloNmsOptions o{};
    o.batch = size_of(in[kMasks], 0);
    o.slots = size_of(in[kMasks], 1);
    o.words = size_of(in[kMasks], 2);
    o.classes = num_classes;
    o.levels = grids.count;
    for (int i = 0; i < grids.count; ++i) {
      o.grids[i] = grids.values[i];
      o.strides[i] = level_strides.values[i];
    }
    o.linear = linear;
    o.sigma = sigma;
    o.update_threshold = update_threshold;
    o.max_instances = max_instances;
    return o;
  }

  int64_t workspace(const PluginTensorDesc* in) const {
    const SoloNmsOptions o = options(in);
    return solo_cuda_matrix_nms_workspace(&o);
  }

  int enqueue(const PluginTensorDesc* tensors, const void* const* in, void* const* out, void* workspace, int64_t bytes,
              void* stream) const {
    const SoloNmsOptions o = options(tensors);
    const auto ints = [&](Input i) { return static_cast<const int32_t*>(in[i]); };
    const auto outs = [&](Output i) { return static_cast<int32_t*>(out[i]); };
    return solo_cuda_matrix_nms(&o, static_cast<const float*>(in[kScores]), ints(kCandidates), ints(kCounts),
                                static_cast<const uint32_t*>(in[kMasks]), ints(kAreas),
                                static_cast<const float*>(in[kSoftSums]), workspace, bytes, outs(kNumDets),
                                static_cast<float*>(out[kBestScores]), outs(kLabels), outs(kCells), outs(kSlots),
                                stream);
  }
};

}  // namespace

IPluginCreatorInterface* matrix_nms_creator() {
  static auto* const creator = new Creator<MatrixNms>;  // TensorRT may ask for it until the process ends
  return creator;
}

}  // namespace solo::trt
