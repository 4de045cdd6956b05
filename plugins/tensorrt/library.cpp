// What TensorRT looks for in a plugin library.
#include "creators.h"
#include "plugin.h"

#define SOLO_RT_EXPORT extern "C" __attribute__((visibility("default")))

SOLO_RT_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static nvinfer1::IPluginCreatorInterface* const creators[] = {
      solo::trt::dynamic_conv_creator(), solo::trt::matrix_nms_creator(), solo::trt::mask_out_creator()};
  count = 3;
  return creators;
}

// TensorRT calls it while loading. The finder stays unused: its interface differs between TensorRT 10 and 11.
SOLO_RT_EXPORT void setLoggerFinder(void*) {}

// What solo-rt asks, before there is any TensorRT: the same for every build of the same plugins.
SOLO_RT_EXPORT const char* solo_plugins_revision() { return solo::trt::kRevision; }
