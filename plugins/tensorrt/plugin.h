// The plugin interfaces of TensorRT over one of our operators.
//
// An operator is a struct with its attributes as members and
//   kName; kTensors[], the Kind of every input and then of every output; kInputs; kAxes[], the rank of every input
//   each(self, visit)                     its attributes, see fields.h
//   const char* problem() const           what is wrong with the attributes, or null
//   const char* mismatch(dims) const      what is wrong with the shapes of the inputs, or null
//   void shapes(in, Shapes&, out) const   the shapes of the outputs
//   int64_t workspace(inputs) const       bytes
//   int enqueue(inputs, in, out, workspace, bytes, stream) const   a SoloStatus
// It has no state beside its attributes, so clones and contexts share nothing, and scratch memory is TensorRT's.
#pragma once

#include <array>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "fields.h"
#include "tensors.h"

namespace solo::trt {

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "";
// Of what a plan holds of the plugins: their fields, shapes and workspaces. It makes older plans and timings void.
constexpr const char* kRevision = "1";

template <typename Op>
class Plugin final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
  static constexpr int32_t kTensors = static_cast<int32_t>(std::size(Op::kTensors));
  static constexpr int32_t kOutputs = kTensors - Op::kInputs;

 public:
  explicit Plugin(const Op& op) : op_(op), cache_id_(describe(op) + "revision=" + kRevision) {}

  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE:
        return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD:
        return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME:
        return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  IPluginV3* clone() noexcept override { return make(op_); }

  static IPluginV3* make(const Op& op) noexcept {
    try {
      return new Plugin(op);
    } catch (...) {
      report(Op::kName, "out of memory");
      return nullptr;
    }
  }

  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t getNbOutputs() const noexcept override { return kOutputs; }

  int32_t getOutputDataTypes(DataType* types, int32_t outputs, const DataType*,
                             int32_t inputs) const noexcept override {
    if (!has_tensors(inputs, outputs)) return 1;
    for (int32_t i = 0; i < kOutputs; ++i) {
      types[i] = Op::kTensors[Op::kInputs + i] == Kind::kInt ? DataType::kINT32 : DataType::kFLOAT;
    }
    return 0;
  }

  int32_t getOutputShapes(const DimsExprs* in, int32_t inputs, const DimsExprs*, int32_t, DimsExprs* out,
                          int32_t outputs, IExprBuilder& builder) noexcept override {
    if (!has_tensors(inputs, outputs)) return 1;
    for (int32_t i = 0; i < Op::kInputs; ++i) {
      if (!has_rank(i, in[i].nbDims)) return 1;
    }
    Shapes shapes(builder);
    op_.shapes(in, shapes, out);
    return 0;
  }

  bool supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors, int32_t inputs,
                                 int32_t outputs) noexcept override {
    if (inputs != Op::kInputs || outputs != kOutputs || position < 0 || position >= kTensors) return false;
    const PluginTensorDesc& tensor = tensors[position].desc;
    const Kind kind = Op::kTensors[position];
    if (tensor.format != TensorFormat::kLINEAR || !is_allowed(kind, tensor.type)) return false;
    for (int32_t i = 0; i < position; ++i) {
      if (Op::kTensors[i] == kind && tensors[i].desc.type != tensor.type) return false;
    }
    return true;
  }

  int32_t configurePlugin(const DynamicPluginTensorDesc* in, int32_t inputs, const DynamicPluginTensorDesc*,
                          int32_t outputs) noexcept override {
    if (!has_tensors(inputs, outputs)) return 1;
    std::array<Dims, Op::kInputs> dims;
    for (int32_t i = 0; i < Op::kInputs; ++i) dims[static_cast<size_t>(i)] = largest(in[i]);
    return accept(dims);
  }

  int32_t onShapeChange(const PluginTensorDesc* in, int32_t inputs, const PluginTensorDesc*,
                        int32_t outputs) noexcept override {
    if (!has_tensors(inputs, outputs)) return 1;
    std::array<Dims, Op::kInputs> dims;
    for (int32_t i = 0; i < Op::kInputs; ++i) dims[static_cast<size_t>(i)] = in[i].dims;
    return accept(dims);
  }

  size_t getWorkspaceSize(const DynamicPluginTensorDesc* in, int32_t inputs, const DynamicPluginTensorDesc*,
                          int32_t outputs) const noexcept override {
    if (!has_tensors(inputs, outputs)) return 0;
    std::array<PluginTensorDesc, Op::kInputs> tensors;
    for (int32_t i = 0; i < Op::kInputs; ++i) {
      tensors[static_cast<size_t>(i)] = in[i].desc;
      tensors[static_cast<size_t>(i)].dims = largest(in[i]);
    }
    return static_cast<size_t>(op_.workspace(tensors.data()));
  }

  const char* getTimingCacheID() noexcept override { return cache_id_.c_str(); }

  int32_t enqueue(const PluginTensorDesc* in_tensors, const PluginTensorDesc*, const void* const* in, void* const* out,
                  void* workspace, CUstream_st* stream) noexcept override {
    const int status = op_.enqueue(in_tensors, in, out, workspace, op_.workspace(in_tensors), stream);
    if (status != 0) report(Op::kName, "launch failed with status %d, see cuda_abi.h", status);
    return status;
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

  const PluginFieldCollection* getFieldsToSerialize() noexcept override {
    try {
      fields_ = write_fields(op_);
    } catch (...) {
      return nullptr;
    }
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    return &collection_;
  }

 private:
  static bool has_tensors(int32_t inputs, int32_t outputs) {
    if (inputs == Op::kInputs && outputs == kOutputs) return true;
    report(Op::kName, "expected %d inputs and %d outputs, got %d and %d", Op::kInputs, kOutputs, inputs, outputs);
    return false;
  }

  static bool has_rank(int32_t input, int32_t rank) {
    if (rank == Op::kAxes[input]) return true;
    report(Op::kName, "input %d: expected %d axes, got %d", input, Op::kAxes[input], rank);
    return false;
  }

  int32_t accept(const std::array<Dims, Op::kInputs>& dims) const {
    for (int32_t i = 0; i < Op::kInputs; ++i) {
      if (!has_rank(i, dims[static_cast<size_t>(i)].nbDims)) return 1;
    }
    const char* mismatch = op_.mismatch(dims.data());
    if (mismatch != nullptr) report(Op::kName, "%s", mismatch);
    return mismatch != nullptr;
  }

  Op op_;
  std::string cache_id_;
  std::vector<PluginField> fields_;  // of the last getFieldsToSerialize
  PluginFieldCollection collection_{};
};

template <typename Op>
class Creator final : public IPluginCreatorV3One {
 public:
  Creator() {
    Op::each(defaults_, [&](const char* name, const auto& member) {
      PluginField field = field_of(name, member);
      field.data = nullptr;
      fields_.push_back(field);
    });
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }

  IPluginV3* createPlugin(const char*, const PluginFieldCollection* fields, TensorRTPhase phase) noexcept override {
    Op op;
    if (fields != nullptr) {
      const int32_t layout = layout_of(*fields);
      if (phase == TensorRTPhase::kRUNTIME && layout != kLayout) {
        report(Op::kName, "expected a plan with layout version %d, got %d; build the engine again", kLayout, layout);
        return nullptr;
      }
      if (!read_fields(*fields, &op)) return nullptr;
    }
    if (const char* problem = op.problem(); problem != nullptr) {
      report(Op::kName, "%s", problem);
      return nullptr;
    }
    return Plugin<Op>::make(op);
  }

  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  Op defaults_;
  std::vector<PluginField> fields_;
  PluginFieldCollection collection_{};
};

}  // namespace solo::trt
