// Compares abi.h with NVIDIA's headers: sizes, offsets and enums while compiling, slots of virtual functions when run.
// Compile with -I <TensorRT headers>; prints every disagreement and returns how many there are.
#include <NvInferRuntime.h>

#include <cstdio>
#include <cstring>

#define SOLO_RT_ABI_NAMESPACE ours
#include "../../plugins/tensorrt/abi.h"

namespace theirs = nvinfer1;

#define SAME_SIZE(type)                                                        \
  static_assert(sizeof(ours::type) == sizeof(theirs::type), "size of " #type); \
  static_assert(alignof(ours::type) == alignof(theirs::type), "alignment of " #type)
#define SAME_OFFSET(type, member) \
  static_assert(offsetof(ours::type, member) == offsetof(theirs::type, member), "offset of " #type "::" #member)
#define SAME_VALUE(type, name) \
  static_assert(static_cast<int>(ours::type::name) == static_cast<int>(theirs::type::name), #type "::" #name)

SAME_SIZE(Dims);
SAME_SIZE(PluginTensorDesc);
SAME_SIZE(DynamicPluginTensorDesc);
SAME_SIZE(PluginField);
SAME_SIZE(PluginFieldCollection);
SAME_SIZE(InterfaceInfo);
SAME_SIZE(DimsExprs);
SAME_SIZE(IVersionedInterface);
SAME_SIZE(IDimensionExpr);
SAME_SIZE(IExprBuilder);
SAME_SIZE(IPluginV3);
SAME_SIZE(IPluginV3OneCore);
SAME_SIZE(IPluginV3OneBuild);
SAME_SIZE(IPluginV3OneRuntime);
SAME_SIZE(IPluginCreatorV3One);

SAME_OFFSET(Dims, nbDims);
SAME_OFFSET(Dims, d);
SAME_OFFSET(PluginTensorDesc, dims);
SAME_OFFSET(PluginTensorDesc, type);
SAME_OFFSET(PluginTensorDesc, format);
SAME_OFFSET(PluginTensorDesc, scale);
SAME_OFFSET(DynamicPluginTensorDesc, desc);
SAME_OFFSET(DynamicPluginTensorDesc, min);
SAME_OFFSET(DynamicPluginTensorDesc, max);
SAME_OFFSET(DynamicPluginTensorDesc, opt);
SAME_OFFSET(PluginField, name);
SAME_OFFSET(PluginField, data);
SAME_OFFSET(PluginField, type);
SAME_OFFSET(PluginField, length);
SAME_OFFSET(PluginFieldCollection, nbFields);
SAME_OFFSET(PluginFieldCollection, fields);
SAME_OFFSET(InterfaceInfo, kind);
SAME_OFFSET(InterfaceInfo, major);
SAME_OFFSET(InterfaceInfo, minor);
SAME_OFFSET(DimsExprs, nbDims);
SAME_OFFSET(DimsExprs, d);

SAME_VALUE(DataType, kFLOAT);
SAME_VALUE(DataType, kHALF);
SAME_VALUE(DataType, kINT8);
SAME_VALUE(DataType, kINT32);
SAME_VALUE(TensorFormat, kLINEAR);
SAME_VALUE(TensorFormat, kCHW2);
SAME_VALUE(TensorFormat, kHWC8);
SAME_VALUE(PluginFieldType, kFLOAT32);
SAME_VALUE(PluginFieldType, kINT32);
SAME_VALUE(PluginFieldType, kCHAR);
SAME_VALUE(PluginFieldType, kUNKNOWN);
SAME_VALUE(TensorRTPhase, kBUILD);
SAME_VALUE(TensorRTPhase, kRUNTIME);
SAME_VALUE(PluginCapabilityType, kCORE);
SAME_VALUE(PluginCapabilityType, kBUILD);
SAME_VALUE(PluginCapabilityType, kRUNTIME);
SAME_VALUE(APILanguage, kCPP);
SAME_VALUE(DimensionOperation, kPROD);
SAME_VALUE(DimensionOperation, kFLOOR_DIV);
SAME_VALUE(DimensionOperation, kCEIL_DIV);

namespace {

int disagreements = 0;

// A pointer to a virtual member function holds its place in the table of virtual functions (Itanium C++ ABI, 2.3).
template <typename Ours, typename Theirs>
void same_slot(Ours ours, Theirs theirs, const char* name) {
  static_assert(sizeof ours == sizeof theirs, "pointers to members");
  if (std::memcmp(&ours, &theirs, sizeof ours) != 0) {
    std::printf("%s: another slot\n", name);
    ++disagreements;
  }
}

#define SAME_SLOT(type, member) same_slot(&ours::type::member, &theirs::type::member, #type "::" #member)

struct OurObject : ours::IPluginV3 {
  ours::IPluginCapability* getCapabilityInterface(ours::PluginCapabilityType) noexcept override { return nullptr; }
  ours::IPluginV3* clone() noexcept override { return nullptr; }
};
struct TheirObject : theirs::IPluginV3 {
  theirs::IPluginCapability* getCapabilityInterface(theirs::PluginCapabilityType) noexcept override { return nullptr; }
  theirs::IPluginV3* clone() noexcept override { return nullptr; }
};

}  // namespace

int main() {
  SAME_SLOT(IVersionedInterface, getAPILanguage);
  SAME_SLOT(IVersionedInterface, getInterfaceInfo);
  SAME_SLOT(IPluginV3, getCapabilityInterface);
  SAME_SLOT(IPluginV3, clone);
  SAME_SLOT(IPluginV3OneCore, getPluginName);
  SAME_SLOT(IPluginV3OneCore, getPluginVersion);
  SAME_SLOT(IPluginV3OneCore, getPluginNamespace);
  SAME_SLOT(IPluginV3OneBuild, configurePlugin);
  SAME_SLOT(IPluginV3OneBuild, getOutputDataTypes);
  SAME_SLOT(IPluginV3OneBuild, getOutputShapes);
  SAME_SLOT(IPluginV3OneBuild, supportsFormatCombination);
  SAME_SLOT(IPluginV3OneBuild, getNbOutputs);
  SAME_SLOT(IPluginV3OneBuild, getWorkspaceSize);
  SAME_SLOT(IPluginV3OneBuild, getValidTactics);
  SAME_SLOT(IPluginV3OneBuild, getNbTactics);
  SAME_SLOT(IPluginV3OneBuild, getTimingCacheID);
  SAME_SLOT(IPluginV3OneBuild, getFormatCombinationLimit);
  SAME_SLOT(IPluginV3OneBuild, getMetadataString);
  SAME_SLOT(IPluginV3OneRuntime, setTactic);
  SAME_SLOT(IPluginV3OneRuntime, onShapeChange);
  SAME_SLOT(IPluginV3OneRuntime, enqueue);
  SAME_SLOT(IPluginV3OneRuntime, attachToContext);
  SAME_SLOT(IPluginV3OneRuntime, getFieldsToSerialize);
  SAME_SLOT(IPluginCreatorV3One, createPlugin);
  SAME_SLOT(IPluginCreatorV3One, getFieldNames);
  SAME_SLOT(IPluginCreatorV3One, getPluginName);
  SAME_SLOT(IPluginCreatorV3One, getPluginVersion);
  SAME_SLOT(IPluginCreatorV3One, getPluginNamespace);
  SAME_SLOT(apiv::VDimensionExpr, isConstant);
  SAME_SLOT(apiv::VDimensionExpr, getConstantValue);
  SAME_SLOT(apiv::VExprBuilder, constant);
  SAME_SLOT(apiv::VExprBuilder, operation);

  const ours::InterfaceInfo mine = OurObject().getInterfaceInfo();
  const theirs::InterfaceInfo other = TheirObject().getInterfaceInfo();
  if (std::strcmp(mine.kind, other.kind) != 0 || mine.major != other.major || mine.minor != other.minor) {
    std::printf("IPluginV3: another interface version\n");
    ++disagreements;
  }
  return disagreements;
}
