// Calls the plugins as TensorRT does, without TensorRT: its side of the interface is played by this program.
// Linked with the kernels on the emulator, enqueue works on host memory; with SOLO_RT_HARNESS_CUDA it works on a GPU,
// in memory that host and device share. Prints what fails and returns how much did.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "../../plugins/tensorrt/abi.h"

#if defined(SOLO_RT_HARNESS_CUDA)
#include <cuda_runtime_api.h>
#endif

using namespace nvinfer1;

extern "C" IPluginCreatorInterface* const* getCreators(int32_t& count);
extern "C" void setLoggerFinder(void* finder);
extern "C" const char* solo_plugins_revision();

namespace {

int failures = 0;

#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) {                                           \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                 \
    }                                                             \
  } while (false)

// A size that is known. TensorRT's expressions hide behind mImpl, and so do these.
class Size final : public IDimensionExpr, public apiv::VDimensionExpr {
 public:
  explicit Size(int64_t value) : value_(value) { mImpl = this; }
  ~Size() noexcept override = default;
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value_; }
  bool isSizeTensor() const override { return false; }

 private:
  int64_t value_;
};

class Builder final : public IExprBuilder, public apiv::VExprBuilder {
 public:
  Builder() { mImpl = this; }
  ~Builder() noexcept override = default;
  const IDimensionExpr* constant(int64_t value) override { return keep(value); }
  const IDimensionExpr* operation(DimensionOperation op, const IDimensionExpr& a, const IDimensionExpr& b) override {
    const int64_t x = a.getConstantValue(), y = b.getConstantValue();
    if (op == DimensionOperation::kPROD) return keep(x * y);
    CHECK(op == DimensionOperation::kCEIL_DIV);
    return keep((x + y - 1) / y);
  }
  const IDimensionExpr* declareSizeTensor(int32_t, const IDimensionExpr&, const IDimensionExpr&) override {
    return nullptr;
  }
  const IDimensionExpr* keep(int64_t value) {
    sizes_.push_back(std::make_unique<Size>(value));
    return sizes_.back().get();
  }

 private:
  std::deque<std::unique_ptr<Size>> sizes_;
};

using Shape = std::vector<int64_t>;

Dims dims_of(const Shape& shape) {
  Dims dims{static_cast<int32_t>(shape.size()), {}};
  for (size_t i = 0; i < shape.size(); ++i) dims.d[i] = shape[i];
  return dims;
}

// One plugin and the interfaces it hands out.
struct Subject {
  std::unique_ptr<IPluginV3> plugin;
  IPluginV3OneCore* core = nullptr;
  IPluginV3OneBuild* build = nullptr;
  IPluginV3OneRuntime* runtime = nullptr;

  explicit Subject(IPluginV3* made) : plugin(made) {
    if (made == nullptr) return;
    core = static_cast<IPluginV3OneCore*>(made->getCapabilityInterface(PluginCapabilityType::kCORE));
    build = static_cast<IPluginV3OneBuild*>(made->getCapabilityInterface(PluginCapabilityType::kBUILD));
    runtime = static_cast<IPluginV3OneRuntime*>(made->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
  }

  std::vector<Shape> output_shapes(const std::vector<Shape>& inputs) const {
    Builder builder;
    std::vector<DimsExprs> in(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      in[i].nbDims = static_cast<int32_t>(inputs[i].size());
      for (size_t axis = 0; axis < inputs[i].size(); ++axis) in[i].d[axis] = builder.keep(inputs[i][axis]);
    }
    std::vector<DimsExprs> out(static_cast<size_t>(build->getNbOutputs()));
    if (build->getOutputShapes(in.data(), static_cast<int32_t>(in.size()), nullptr, 0, out.data(),
                               build->getNbOutputs(), builder) != 0) {
      return {};
    }
    std::vector<Shape> shapes;
    for (const DimsExprs& shape : out) {
      shapes.emplace_back();
      for (int32_t i = 0; i < shape.nbDims; ++i) shapes.back().push_back(shape.d[i]->getConstantValue());
    }
    return shapes;
  }
};

IPluginCreatorV3One* creator_of(const std::string& name) {
  int32_t count = 0;
  IPluginCreatorInterface* const* creators = getCreators(count);
  for (int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<IPluginCreatorV3One*>(creators[i]);
    if (creator->getPluginName() == name) return creator;
  }
  return nullptr;
}

Subject create(const std::string& name, const std::vector<PluginField>& fields,
               TensorRTPhase phase = TensorRTPhase::kBUILD) {
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return Subject(creator_of(name)->createPlugin(name.c_str(), &collection, phase));
}

PluginField number(const char* name, const float& value) { return {name, &value, PluginFieldType::kFLOAT32, 1}; }
PluginField number(const char* name, const int32_t& value) { return {name, &value, PluginFieldType::kINT32, 1}; }

std::vector<PluginField> stored(const Subject& subject) {
  const PluginFieldCollection* fields = subject.runtime->getFieldsToSerialize();
  return {fields->fields, fields->fields + fields->nbFields};
}

bool same_fields(const std::vector<PluginField>& a, const std::vector<PluginField>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::strcmp(a[i].name, b[i].name) != 0 || a[i].type != b[i].type || a[i].length != b[i].length) return false;
    if (std::memcmp(a[i].data, b[i].data, 4 * static_cast<size_t>(a[i].length)) != 0) return false;
  }
  return true;
}

const char* const kNames[] = {"SoloDynamicConv", "SoloMatrixNms", "SoloMaskOut"};

void test_creators() {
  int32_t count = 0;
  CHECK(getCreators(count) != nullptr);
  CHECK(count == 3);
  setLoggerFinder(nullptr);
  for (const char* name : kNames) {
    IPluginCreatorV3One* creator = creator_of(name);
    CHECK(creator != nullptr);
    CHECK(std::strcmp(creator->getPluginVersion(), "1") == 0);
    CHECK(std::strcmp(creator->getPluginNamespace(), "") == 0);
    CHECK(std::strcmp(creator->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") == 0);
    const Subject subject = create(name, {});
    CHECK(std::strcmp(subject.core->getPluginName(), name) == 0);
    CHECK(std::strcmp(subject.core->getInterfaceInfo().kind, "PLUGIN_V3ONE_CORE") == 0);
    CHECK(std::strcmp(subject.build->getInterfaceInfo().kind, "PLUGIN_V3ONE_BUILD") == 0);
    CHECK(std::strcmp(subject.runtime->getInterfaceInfo().kind, "PLUGIN_V3ONE_RUNTIME") == 0);
  }
}

void test_attributes() {
  const float half = 0.5f, nan = NAN;
  const int32_t seven = 7, nothing = 0, two = 2, both[] = {4, 5};
  CHECK(create("SoloDynamicConv", {number("nms_pre", seven)}).plugin != nullptr);
  CHECK(create("SoloDynamicConv", {number("nms_pre", half)}).plugin == nullptr);
  CHECK(create("SoloDynamicConv", {number("nms_pre", nothing)}).plugin == nullptr);
  CHECK(create("SoloDynamicConv", {number("score_threshold", nan)}).plugin == nullptr);
  const float one = 1.0f;
  CHECK(create("SoloDynamicConv", {number("mask_threshold", one)}).plugin == nullptr);
  CHECK(create("SoloMaskOut", {number("mask_threshold", one)}).plugin == nullptr);
  CHECK(create("SoloMatrixNms", {number("linear", two)}).plugin == nullptr);
  CHECK(create("SoloMatrixNms", {number("grids", seven)}).plugin == nullptr);  // and five strides
  const PluginField grids{"grids", both, PluginFieldType::kINT32, 2};
  const PluginField strides{"level_strides", both, PluginFieldType::kINT32, 2};
  CHECK(create("SoloMatrixNms", {grids, strides}).plugin != nullptr);
  std::string id = create("SoloMatrixNms", {grids, strides}).build->getTimingCacheID();
  CHECK(id.find("grids=4,5;") != std::string::npos);
  CHECK(id != create("SoloMatrixNms", {}).build->getTimingCacheID());
}

void test_serialisation() {
  const float threshold = 0.25f;
  const int32_t slots = 77;
  const Subject built = create("SoloDynamicConv", {number("score_threshold", threshold), number("nms_pre", slots)});
  std::vector<PluginField> fields = stored(built);
  const Subject loaded = create("SoloDynamicConv", fields, TensorRTPhase::kRUNTIME);
  CHECK(loaded.plugin != nullptr && same_fields(fields, stored(loaded)));
  const Subject clone(built.plugin->clone());
  const Subject attached(built.runtime->attachToContext(nullptr));
  CHECK(clone.plugin != built.plugin && attached.plugin != built.plugin);
  CHECK(same_fields(fields, stored(clone)) && same_fields(fields, stored(attached)));
  CHECK(fields.back().data != nullptr && std::strcmp(fields.back().name, "layout_version") == 0);

  const int32_t newer = 2;
  fields.back().data = &newer;
  CHECK(create("SoloDynamicConv", fields, TensorRTPhase::kRUNTIME).plugin == nullptr);
  fields.pop_back();
  CHECK(create("SoloDynamicConv", fields, TensorRTPhase::kRUNTIME).plugin == nullptr);
}

void test_shapes() {
  const int32_t slots = 50, instances = 20;
  const Subject conv = create("SoloDynamicConv", {number("nms_pre", slots)});
  const std::vector<Shape> masks = conv.output_shapes({{2, 100, 3}, {2, 100, 8}, {2, 8, 5, 12}});
  CHECK((masks == std::vector<Shape>{{2, 50}, {2, 50}, {2, 2}, {2, 50, 2}, {2, 50}, {2, 50}}));
  CHECK(conv.output_shapes({{2, 100, 3}, {2, 100, 8}, {2, 8, 60}}).empty());
  const Subject nms = create("SoloMatrixNms", {number("max_instances", instances)});
  CHECK((nms.output_shapes(masks) == std::vector<Shape>{{2, 1}, {2, 20}, {2, 20}, {2, 20}, {2, 20}}));
  const Subject out = create("SoloMaskOut", {});
  CHECK((out.output_shapes({{2, 100, 8}, {2, 8, 5, 12}, {2, 50, 2}, {2, 1}, {2, 20}, {2, 20}}) ==
         std::vector<Shape>{{2, 20, 4}, {2, 20, 5, 3}}));
}

// Every type and format of every tensor, the ones before it being right. n: FP32 or FP16, N: the same as the n before;
// f: FP32, i: INT32.
void test_formats(const char* name, int32_t inputs, const std::string& kinds) {
  const Subject subject = create(name, {});
  const int32_t outputs = subject.build->getNbOutputs(), all = inputs + outputs;
  CHECK(all == static_cast<int32_t>(kinds.size()));
  std::vector<DataType> in_types(static_cast<size_t>(inputs)), out_types(static_cast<size_t>(outputs));
  CHECK(subject.build->getOutputDataTypes(out_types.data(), outputs, in_types.data(), inputs) == 0);
  for (const DataType network : {DataType::kFLOAT, DataType::kHALF}) {
    std::vector<DynamicPluginTensorDesc> tensors(static_cast<size_t>(all));
    for (int32_t i = 0; i < all; ++i) {
      const char kind = kinds[static_cast<size_t>(i)];
      PluginTensorDesc& desc = tensors[static_cast<size_t>(i)].desc;
      for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kINT32}) {
        bool expected = type == (kind == 'i' ? DataType::kINT32 : kind == 'N' ? network : DataType::kFLOAT);
        if (kind == 'n') expected = type == DataType::kFLOAT || type == DataType::kHALF;
        desc.type = type;
        desc.format = TensorFormat::kCHW2;
        CHECK(!subject.build->supportsFormatCombination(i, tensors.data(), inputs, outputs));
        desc.format = TensorFormat::kLINEAR;
        CHECK(subject.build->supportsFormatCombination(i, tensors.data(), inputs, outputs) == expected);
      }
      desc.type = kind == 'i' ? DataType::kINT32 : kind == 'f' ? DataType::kFLOAT : network;
      if (i >= inputs) CHECK(desc.type == out_types[static_cast<size_t>(i - inputs)]);
    }
  }
}

std::vector<DynamicPluginTensorDesc> dynamic(const std::vector<Shape>& shapes, bool batch_is_free = false) {
  std::vector<DynamicPluginTensorDesc> tensors(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    tensors[i].desc.dims = tensors[i].min = tensors[i].opt = tensors[i].max = dims_of(shapes[i]);
    if (batch_is_free) tensors[i].desc.dims.d[0] = -1;
  }
  return tensors;
}

void test_configuration() {
  const Subject conv = create("SoloDynamicConv", {});
  const auto configure = [&](const std::vector<Shape>& shapes) {
    const auto in = dynamic(shapes), out = dynamic(std::vector<Shape>(6, Shape{1}));
    return conv.build->configurePlugin(in.data(), 3, out.data(), 6);
  };
  CHECK(configure({{2, 100, 3}, {2, 100, 8}, {2, 8, 5, 12}}) == 0);
  CHECK(configure({{2, 100, 3}, {2, 99, 8}, {2, 8, 5, 12}}) != 0);
  CHECK(configure({{2, 100, 3}, {2, 100, 8}, {2, 9, 5, 12}}) != 0);
  CHECK(configure({{2, 100, 3}, {1, 100, 8}, {2, 8, 5, 12}}) != 0);
  CHECK(configure({{2, 70000, 3}, {2, 70000, 8}, {2, 8, 5, 12}}) != 0);
  CHECK(configure({{2, 100}, {2, 100, 8}, {2, 8, 5, 12}}) != 0);

  const Subject out = create("SoloMaskOut", {});
  std::vector<Shape> shapes{{1, 100, 8}, {1, 8, 5, 12}, {1, 50, 2}, {1, 1}, {1, 20}, {1, 20}};
  std::vector<PluginTensorDesc> tensors(6);
  const auto change = [&] {
    for (size_t i = 0; i < 6; ++i) tensors[i].dims = dims_of(shapes[i]);
    return out.runtime->onShapeChange(tensors.data(), 6, tensors.data(), 2);
  };
  CHECK(change() == 0);
  shapes[1] = {1, 8, 5, 10};
  CHECK(change() != 0);

  const auto fixed = dynamic({{4, 100, 3}, {4, 100, 8}, {4, 8, 5, 12}});
  const auto free_batch = dynamic({{4, 100, 3}, {4, 100, 8}, {4, 8, 5, 12}}, true);
  const size_t bytes = conv.build->getWorkspaceSize(fixed.data(), 3, fixed.data(), 6);
  CHECK(bytes > 0 && bytes % 256 == 0);
  CHECK(bytes == conv.build->getWorkspaceSize(free_batch.data(), 3, fixed.data(), 6));
}

// What a plan holds of the plugins beside their names: whoever changes it raises kRevision, which makes old plans void.
void test_revision() {
  const std::vector<std::vector<Shape>> inputs{{{2, 100, 3}, {2, 100, 8}, {2, 8, 5, 12}},
                                               {{2, 500}, {2, 500}, {2, 2}, {2, 500, 2}, {2, 500}, {2, 500}},
                                               {{2, 100, 8}, {2, 8, 5, 12}, {2, 500, 2}, {2, 1}, {2, 100}, {2, 100}}};
  std::string held = solo_plugins_revision();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Subject subject = create(kNames[i], {});
    const auto tensors = dynamic(inputs[i]);
    const auto count = static_cast<int32_t>(tensors.size());
    held += std::string("\n") + kNames[i];
    for (const PluginField& field : stored(subject)) held += std::string(" ") + field.name;
    const size_t bytes = subject.build->getWorkspaceSize(tensors.data(), count, nullptr, subject.build->getNbOutputs());
    held += " " + std::to_string(bytes);
  }
  CHECK(held ==
        "1\nSoloDynamicConv score_threshold mask_threshold nms_pre layout_version 8192\n"
        "SoloMatrixNms num_classes grids level_strides linear sigma update_threshold max_instances layout_version "
        "2020864\nSoloMaskOut mask_threshold layout_version 0");
}

// Memory that plugins can work on; aligned to 256 bytes.
template <typename T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <typename U>
  Allocator(const Allocator<U>&) {}
  T* allocate(size_t count) {
    void* memory = nullptr;
#if defined(SOLO_RT_HARNESS_CUDA)
    if (cudaMallocManaged(&memory, count * sizeof(T), cudaMemAttachGlobal) != cudaSuccess) std::abort();
#else
    memory = std::aligned_alloc(256, (count * sizeof(T) + 255) / 256 * 256);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) {
#if defined(SOLO_RT_HARNESS_CUDA)
    cudaFree(memory);
#else
    std::free(memory);
#endif
  }
  template <typename U>
  bool operator==(const Allocator<U>&) const {
    return true;
  }
  template <typename U>
  bool operator!=(const Allocator<U>&) const {
    return false;
  }
};

template <typename T>
using Memory = std::vector<T, Allocator<T>>;

// Runs a plugin and returns its outputs as words.
std::vector<Memory<uint32_t>> run(const Subject& subject, const std::vector<Shape>& shapes,
                                  const std::vector<DataType>& types, const std::vector<const void*>& inputs) {
  std::vector<PluginTensorDesc> in(shapes.size());
  std::vector<DynamicPluginTensorDesc> in_range = dynamic(shapes);
  for (size_t i = 0; i < shapes.size(); ++i) {
    in_range[i].desc.type = types[i];
    in[i] = in_range[i].desc;
  }
  const std::vector<Shape> out_shapes = subject.output_shapes(shapes);
  std::vector<Memory<uint32_t>> out;
  std::vector<void*> pointers;
  for (const Shape& shape : out_shapes) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    out.emplace_back(count, 0xdeadbeefu);
  }
  for (auto& values : out) pointers.push_back(values.data());
  const auto inputs_count = static_cast<int32_t>(in.size()), outputs_count = static_cast<int32_t>(out.size());
  Memory<char> workspace(1 + subject.build->getWorkspaceSize(in_range.data(), inputs_count, nullptr, outputs_count));
  CHECK(subject.runtime->onShapeChange(in.data(), inputs_count, nullptr, outputs_count) == 0);
  CHECK(subject.runtime->enqueue(in.data(), nullptr, inputs.data(), pointers.data(), workspace.data(), nullptr) == 0);
#if defined(SOLO_RT_HARNESS_CUDA)
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
#endif
  return out;
}

float as_float(uint32_t word) {
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// Two cells predict the left half of a 4 x 8 picture, one the right half, and one nothing; all numbers exist in FP16.
void test_chain(DataType type) {
  const float scores[] = {0.5f, 0.75f, 0.0f, 0.625f}, kernels[] = {2.0f, 2.0f, 0.0f, -2.0f};
  float features[32];
  for (int p = 0; p < 32; ++p) features[p] = p % 8 < 4 ? 1.0f : -1.0f;
  const auto encode = [&](const float* values, size_t count) {
    Memory<uint16_t> bits(2 * count);
    if (type == DataType::kFLOAT) std::memcpy(bits.data(), values, 4 * count);
    for (size_t i = 0; i < count && type == DataType::kHALF; ++i) {
      uint32_t word;
      std::memcpy(&word, values + i, sizeof word);
      const uint32_t exponent = word >> 23 & 0xff;
      bits[i] = static_cast<uint16_t>((word >> 16 & 0x8000) |
                                      (exponent == 0 ? 0 : (exponent - 112) << 10 | (word >> 13 & 0x3ff)));
    }
    return bits;
  };
  const auto s = encode(scores, 4), k = encode(kernels, 4), f = encode(features, 32);
  const int32_t slots = 5, instances = 3, grid = 2, stride = 15;
  const Subject conv = create("SoloDynamicConv", {number("nms_pre", slots)});
  const auto c = run(conv, {{1, 4, 1}, {1, 4, 1}, {1, 1, 4, 8}}, {type, type, type}, {s.data(), k.data(), f.data()});
  CHECK((c[1] == Memory<uint32_t>{1, 3, 0, 0, 0}));
  CHECK((c[2] == Memory<uint32_t>{3, 3}));
  CHECK(c[3][0] == 0x0f0f0f0fu && c[3][1] == 0xf0f0f0f0u && c[3][2] == 0x0f0f0f0fu);
  CHECK((c[4] == Memory<uint32_t>{16, 16, 16, 0, 0}));
  const float soft = 1 / (1 + std::exp(-2.0f));
  CHECK(std::abs(as_float(c[5][0]) - 16 * soft) < 1e-4f);

  const Subject nms = create(
      "SoloMatrixNms", {number("grids", grid), number("level_strides", stride), number("max_instances", instances)});
  const DataType i32 = DataType::kINT32, f32 = DataType::kFLOAT;
  const auto n = run(nms, {{1, 5}, {1, 5}, {1, 2}, {1, 5, 1}, {1, 5}, {1, 5}}, {f32, i32, i32, i32, i32, f32},
                     {c[0].data(), c[1].data(), c[2].data(), c[3].data(), c[4].data(), c[5].data()});
  CHECK(n[0][0] == 3);
  CHECK(std::abs(as_float(n[1][0]) - 0.75f * soft) < 1e-5f);
  CHECK(std::abs(as_float(n[1][1]) - 0.625f * soft) < 1e-5f);
  CHECK(std::abs(as_float(n[1][2]) - 0.5f * soft * std::exp(-2.0f)) < 1e-5f);
  CHECK((n[3] == Memory<uint32_t>{1, 3, 0}));
  CHECK((n[4] == Memory<uint32_t>{0, 1, 2}));

  const auto m =
      run(create("SoloMaskOut", {}), {{1, 4, 1}, {1, 1, 4, 8}, {1, 5, 1}, {1, 1}, {1, 3}, {1, 3}},
          {type, type, i32, i32, i32, i32}, {k.data(), f.data(), c[3].data(), n[0].data(), n[3].data(), n[4].data()});
  CHECK((Memory<uint32_t>(m[0].begin(), m[0].begin() + 8) == Memory<uint32_t>{0, 0, 5, 4, 3, 0, 8, 4}));
  const uint32_t inside = static_cast<uint32_t>(255 * soft + 0.5f), outside = 255 - inside;
  CHECK(m[1][0] == inside * 0x01010101u && m[1][1] == outside);
}

// TensorRT's builder times plugins with whatever its memory holds, be it counts, cells or slots. What comes out matters
// to nobody. `count` is the input that says how many slots are in use: garbage, or all of them.
void test_garbage(const Subject& subject, const std::vector<Shape>& shapes, const std::vector<DataType>& types,
                  size_t count) {
  for (const uint32_t fill : {0xa5a5a5a5u, 0x5a5a5a5au, 0x7f7f7f7fu, 0xffffffffu}) {
    for (const bool is_counted : {false, true}) {
      std::vector<Memory<uint32_t>> memory;
      std::vector<const void*> inputs;
      for (const Shape& shape : shapes) {
        size_t words = 1;
        for (const int64_t size : shape) words *= static_cast<size_t>(size);
        memory.emplace_back(words, is_counted && memory.size() == count ? 20 : fill);
      }
      for (const auto& values : memory) inputs.push_back(values.data());
      run(subject, shapes, types, inputs);
    }
  }
}

}  // namespace

int main() {
  test_creators();
  test_attributes();
  test_serialisation();
  test_shapes();
  test_formats("SoloDynamicConv", 3, "nnNfiiiif");
  test_formats("SoloMatrixNms", 6, "fiiiififiii");
  test_formats("SoloMaskOut", 6, "nNiiiiii");
  test_configuration();
  test_revision();
  test_chain(DataType::kFLOAT);
  test_chain(DataType::kHALF);
  const int32_t slots = 30, instances = 20;
  const DataType network = DataType::kHALF, real = DataType::kFLOAT, whole = DataType::kINT32;
  test_garbage(create("SoloDynamicConv", {number("nms_pre", slots)}), {{2, 25, 3}, {2, 25, 16}, {2, 16, 8, 12}},
               {real, network, network}, 3);
  test_garbage(create("SoloMatrixNms", {number("max_instances", instances)}),
               {{2, 30}, {2, 30}, {2, 2}, {2, 30, 3}, {2, 30}, {2, 30}}, {real, whole, whole, whole, whole, real}, 2);
  test_garbage(create("SoloMaskOut", {}), {{2, 25, 16}, {2, 16, 8, 12}, {2, 30, 3}, {2, 1}, {2, 20}, {2, 20}},
               {network, network, whole, whole, whole, whole}, 3);
  return failures;
}
