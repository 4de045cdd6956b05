// Types and shapes of the tensors of a plugin.
#pragma once

#include <initializer_list>

#include "abi.h"

namespace solo::trt {

using namespace nvinfer1;

// Which types a tensor may have. All tensors of one plugin that are kScores have the same type, and so do all that are
// kNetwork.
enum class Kind { kScores, kNetwork, kFloat, kInt };

inline bool is_allowed(Kind kind, DataType type) {
  if (kind == Kind::kInt) return type == DataType::kINT32;
  return type == DataType::kFLOAT || (kind != Kind::kFloat && type == DataType::kHALF);
}

// The SoloType of a tensor that is_allowed.
inline int32_t solo_type(const PluginTensorDesc& tensor) { return tensor.type == DataType::kHALF ? 1 : 0; }

// The largest size that a tensor is built for.
inline const Dims& largest(const DynamicPluginTensorDesc& tensor) {
  for (int32_t i = 0; i < tensor.desc.dims.nbDims; ++i) {
    if (tensor.desc.dims.d[i] < 0) return tensor.max;
  }
  return tensor.desc.dims;
}

inline int32_t size_of(const PluginTensorDesc& tensor, int axis) { return static_cast<int32_t>(tensor.dims.d[axis]); }

// Writes shapes whose sizes may be known only later.
class Shapes {
 public:
  explicit Shapes(IExprBuilder& builder) : builder_(builder) {}

  const IDimensionExpr* number(int64_t value) { return builder_.constant(value); }
  const IDimensionExpr* product(const IDimensionExpr* a, const IDimensionExpr* b) {
    return builder_.operation(DimensionOperation::kPROD, *a, *b);
  }
  const IDimensionExpr* ceil_div(const IDimensionExpr* a, int64_t b) {
    return builder_.operation(DimensionOperation::kCEIL_DIV, *a, *number(b));
  }
  static void set(DimsExprs* shape, std::initializer_list<const IDimensionExpr*> sizes) {
    shape->nbDims = 0;
    for (const IDimensionExpr* size : sizes) shape->d[shape->nbDims++] = size;
  }

 private:
  IExprBuilder& builder_;
};

}  // namespace solo::trt
