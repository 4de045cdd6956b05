#include "fields.h"

#include <algorithm>

namespace solo::trt {

bool assign(const PluginField& field, float* value) {
  if (field.type != PluginFieldType::kFLOAT32 || field.length != 1) return false;
  *value = *static_cast<const float*>(field.data);
  return true;
}

bool assign(const PluginField& field, int32_t* value) {
  if (field.type != PluginFieldType::kINT32 || field.length != 1) return false;
  *value = *static_cast<const int32_t*>(field.data);
  return true;
}

bool assign(const PluginField& field, Numbers* value) {
  if (field.type != PluginFieldType::kINT32 || field.length < 1 || field.length > Numbers::kCapacity) return false;
  value->count = field.length;
  std::copy_n(static_cast<const int32_t*>(field.data), field.length, value->values);
  return true;
}

std::string text_of(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

std::string text_of(int32_t value) { return std::to_string(value); }

std::string text_of(const Numbers& value) {
  std::string text;
  for (int i = 0; i < value.count; ++i) text += (i ? "," : "") + std::to_string(value.values[i]);
  return text;
}

int32_t layout_of(const PluginFieldCollection& fields) {
  int32_t version = 0;
  for (int32_t i = 0; i < fields.nbFields; ++i) {
    if (std::strcmp(fields.fields[i].name, kLayoutField) == 0) assign(fields.fields[i], &version);
  }
  return version;
}

}  // namespace solo::trt
