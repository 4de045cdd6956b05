#include <cmath>

#include "candidates_cuda.h"
#include "creators.h"
#include "dynamic_conv_cuda.h"
#include "plugin.h"
#include "soft_value.h"

namespace solo::trt {
namespace {

struct DynamicConv {
  static constexpr const char* kName = "SoloDynamicConv";
  static constexpr int32_t kInputs = 3;
  static constexpr int32_t kAxes[] = {3, 3, 4};
  enum Input { kScores, kKernels, kFeatures };
  enum Output { kBestScores, kCandidates, kCounts, kMasks, kAreas, kSoftSums };
  static constexpr Kind kTensors[] = {Kind::kScores, Kind::kNetwork, Kind::kNetwork, Kind::kFloat, Kind::kInt,
                                      Kind::kInt,    Kind::kInt,     Kind::kInt,     Kind::kFloat};

  float score_threshold = 0.1f;
  float mask_threshold = 0.5f;
  int32_t nms_pre = 500;

  template <typename Self, typename Visit>
  static void each(Self& self, const Visit& visit) {
    visit("score_threshold", self.score_threshold);
    visit("mask_threshold", self.mask_threshold);
    visit("nms_pre", self.nms_pre);
  }

  const char* problem() const {
    if (!std::isfinite(score_threshold)) return "score_threshold: expected a number";
    if (!(mask_threshold >= 0.0f && mask_threshold < 1.0f)) return "mask_threshold: expected 0 <= t < 1";
    return nms_pre >= 1 && nms_pre <= SOLO_MAX_SLOTS ? nullptr : "nms_pre: expected 1..2048";
  }

  const char* mismatch(const Dims* in) const {
    const Dims &scores = in[kScores], &kernels = in[kKernels], &features = in[kFeatures];
    if (scores.d[1] > SOLO_MAX_CELLS || scores.d[2] > SOLO_MAX_CLASSES)
      return "expected at most 65536 cells and classes";
    if (scores.d[1] * scores.d[2] > INT32_MAX) return "expected fewer than 2^31 scores of a picture";
    if (scores.d[0] != kernels.d[0] || scores.d[0] != features.d[0]) return "expected inputs of one batch size";
    if (scores.d[1] != kernels.d[1]) return "expected as many cells in scores as in kernels";
    return kernels.d[2] == features.d[1] ? nullptr : "expected as many channels in kernels as in features";
  }

  void shapes(const DimsExprs* in, Shapes& to, DimsExprs* out) const {
    const IDimensionExpr *batch = in[kScores].d[0], *slots = to.number(nms_pre);
    const IDimensionExpr* words = to.ceil_div(to.product(in[kFeatures].d[2], in[kFeatures].d[3]), 32);
    for (const Output output : {kBestScores, kCandidates, kAreas, kSoftSums}) to.set(&out[output], {batch, slots});
    to.set(&out[kCounts], {batch, to.number(2)});
    to.set(&out[kMasks], {batch, slots, words});
  }

  SoloConvShape conv_shape(const PluginTensorDesc* in) const {
    const PluginTensorDesc& features = in[kFeatures];
    return {solo_type(features),
            size_of(in[kKernels], 0),
            size_of(in[kKernels], 1),
            size_of(in[kKernels], 2),
            size_of(features, 2),
            size_of(features, 3),
            nms_pre,
            size_of(in[kScores], 2)};
  }

  static int64_t score_count(const PluginTensorDesc* in) { return in[kScores].dims.d[1] * in[kScores].dims.d[2]; }

  // The two steps follow each other on the stream, so they share the memory.
  int64_t workspace(const PluginTensorDesc* in) const {
    const SoloConvShape shape = conv_shape(in);
    const int64_t select = solo_cuda_find_candidates_workspace(shape.batch, score_count(in));
    const int64_t multiply = solo_cuda_binarise_masks_workspace(&shape);
    return select > multiply ? select : multiply;
  }

  int enqueue(const PluginTensorDesc* tensors, const void* const* in, void* const* out, void* workspace, int64_t bytes,
              void* stream) const {
    const SoloConvShape shape = conv_shape(tensors);
    auto* candidates = static_cast<int32_t*>(out[kCandidates]);
    auto* counts = static_cast<int32_t*>(out[kCounts]);
    const int status = solo_cuda_find_candidates(in[kScores], solo_type(tensors[kScores]), shape.batch,
                                                 score_count(tensors), score_threshold, nms_pre, workspace, bytes,
                                                 static_cast<float*>(out[kBestScores]), candidates, counts, stream);
    if (status != SOLO_OK) return status;
    return solo_cuda_binarise_masks(&shape, in[kKernels], in[kFeatures], candidates, counts,
                                    logit_of(static_cast<double>(mask_threshold)), workspace, bytes,
                                    static_cast<uint32_t*>(out[kMasks]), static_cast<int32_t*>(out[kAreas]),
                                    static_cast<float*>(out[kSoftSums]), stream);
  }
};

}  // namespace

IPluginCreatorInterface* dynamic_conv_creator() {
  static auto* const creator = new Creator<DynamicConv>;  // TensorRT may ask for it until the process ends
  return creator;
}

}  // namespace solo::trt
