#include "creators.h"
#include "plugin.h"
#include "soft_masks_cuda.h"
#include "soft_value.h"

namespace solo::trt {
namespace {

struct MaskOut {
  static constexpr const char* kName = "SoloMaskOut";
  static constexpr int32_t kInputs = 6;
  static constexpr int32_t kAxes[] = {3, 4, 3, 2, 2, 2};
  enum Input { kKernels, kFeatures, kMasks, kNumDets, kCells, kSlots };
  enum Output { kRegions, kSoft };
  static constexpr Kind kTensors[] = {Kind::kNetwork, Kind::kNetwork, Kind::kInt, Kind::kInt,
                                      Kind::kInt,     Kind::kInt,     Kind::kInt, Kind::kInt};
  static constexpr int kPacked = 4;  // bytes of a soft mask in one INT32

  float mask_threshold = 0.5f;

  template <typename Self, typename Visit>
  static void each(Self& self, const Visit& visit) {
    visit("mask_threshold", self.mask_threshold);
  }

  const char* problem() const {
    return mask_threshold >= 0.0f && mask_threshold < 1.0f ? nullptr : "mask_threshold: expected 0 <= t < 1";
  }

  const char* mismatch(const Dims* in) const {
    for (int i = 1; i < kInputs; ++i) {
      if (in[i].d[0] != in[0].d[0]) return "expected inputs of one batch size";
    }
    const Dims& features = in[kFeatures];
    if (in[kKernels].d[2] != features.d[1]) return "expected as many channels in kernels as in features";
    if (features.d[3] % kPacked != 0) return "features: expected a width divisible by 4";
    if (in[kMasks].d[2] != (features.d[2] * features.d[3] + 31) / 32) return "masks: expected one bit for each pixel";
    if (in[kCells].d[1] > SOLO_MAX_SLOTS) return "expected at most 2048 instances";
    return in[kCells].d[1] == in[kSlots].d[1] ? nullptr : "expected as many cells as slots";
  }

  void shapes(const DimsExprs* in, Shapes& to, DimsExprs* out) const {
    const IDimensionExpr *batch = in[kCells].d[0], *instances = in[kCells].d[1];
    to.set(&out[kRegions], {batch, instances, to.number(4)});
    to.set(&out[kSoft], {batch, instances, in[kFeatures].d[2], to.ceil_div(in[kFeatures].d[3], kPacked)});
  }

  int64_t workspace(const PluginTensorDesc*) const { return 0; }

  int enqueue(const PluginTensorDesc* tensors, const void* const* in, void* const* out, void*, int64_t,
              void* stream) const {
    const PluginTensorDesc &kernels = tensors[kKernels], &features = tensors[kFeatures];
    const SoloConvShape shape{
        solo_type(features),  size_of(kernels, 0),  size_of(kernels, 1),         size_of(kernels, 2),
        size_of(features, 2), size_of(features, 3), size_of(tensors[kCells], 1), 1};
    const auto ints = [&](Input i) { return static_cast<const int32_t*>(in[i]); };
    return solo_cuda_soft_masks(&shape, in[kKernels], in[kFeatures], static_cast<const uint32_t*>(in[kMasks]),
                                size_of(tensors[kMasks], 1), ints(kNumDets), ints(kCells), ints(kSlots),
                                logit_of(static_cast<double>(mask_threshold)), static_cast<int32_t*>(out[kRegions]),
                                static_cast<uint8_t*>(out[kSoft]), stream);
  }
};

}  // namespace

IPluginCreatorInterface* mask_out_creator() {
  static auto* const creator = new Creator<MaskOut>;  // TensorRT may ask for it until the process ends
  return creator;
}

}  // namespace solo::trt
