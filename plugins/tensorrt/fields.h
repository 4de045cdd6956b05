// Attributes of a plugin as TensorRT passes them: from an ONNX node while building, from a plan at run time.
//
// An operator names its attributes in one place, `each(self, visit)`, which calls visit(name, member) for all of them.
// Reading, writing, listing and the timing cache follow from that.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "abi.h"

namespace solo::trt {

using namespace nvinfer1;

// Prints one line about what a plugin refuses. TensorRT's own logger has another interface in TensorRT 11 than in 10.
template <typename... Values>
void report(const char* plugin, const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  std::fprintf(stderr, "%s: %s\n", plugin, text);
}

// A list of up to 8 numbers.
struct Numbers {
  static constexpr int kCapacity = 8;
  int32_t count;
  int32_t values[kCapacity];
};

inline PluginField field_of(const char* name, const float& value) {
  return {name, &value, PluginFieldType::kFLOAT32, 1};
}
inline PluginField field_of(const char* name, const int32_t& value) {
  return {name, &value, PluginFieldType::kINT32, 1};
}
inline PluginField field_of(const char* name, const Numbers& value) {
  return {name, value.values, PluginFieldType::kINT32, value.count};
}

// Stores a field that field_of may have made, or an ONNX attribute; false if it has another type or length.
bool assign(const PluginField& field, float* value);
bool assign(const PluginField& field, int32_t* value);
bool assign(const PluginField& field, Numbers* value);

std::string text_of(float value);
std::string text_of(int32_t value);
std::string text_of(const Numbers& value);

constexpr const char* kLayoutField = "layout_version";
constexpr int32_t kLayout = 1;  // of the fields in a plan

// Returns the layout version among the fields, or 0.
int32_t layout_of(const PluginFieldCollection& fields);

// Takes the attributes that are among the fields; the others keep their values. False, and a line on stderr, if one
// has the wrong type.
template <typename Op>
bool read_fields(const PluginFieldCollection& fields, Op* op) {
  bool good = true;
  for (int32_t i = 0; i < fields.nbFields; ++i) {
    const PluginField& field = fields.fields[i];
    Op::each(*op, [&](const char* name, auto& member) {
      if (std::strcmp(name, field.name) != 0 || assign(field, &member)) return;
      report(Op::kName, "attribute %s has another type or length than the README says", name);
      good = false;
    });
  }
  return good;
}

// Returns fields that point into `op`.
template <typename Op>
std::vector<PluginField> write_fields(const Op& op) {
  std::vector<PluginField> fields;
  Op::each(op, [&](const char* name, const auto& member) { fields.push_back(field_of(name, member)); });
  fields.push_back(field_of(kLayoutField, kLayout));
  return fields;
}

template <typename Op>
std::string describe(const Op& op) {
  std::string text;
  Op::each(op, [&](const char* name, const auto& member) { text += std::string(name) + "=" + text_of(member) + ";"; });
  return text;
}

}  // namespace solo::trt
