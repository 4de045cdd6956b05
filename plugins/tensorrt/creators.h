// One creator for each plugin of the library.
#pragma once

#include "abi.h"

namespace solo::trt {

nvinfer1::IPluginCreatorInterface* dynamic_conv_creator();
nvinfer1::IPluginCreatorInterface* matrix_nms_creator();
nvinfer1::IPluginCreatorInterface* mask_out_creator();

}  // namespace solo::trt
