// Lets TensorRT's Python bindings talk to the builder and parser of TensorRT for RTX, which run without a GPU.
//
// The bindings need nine C functions of three libraries; this file is compiled once under the name of each and answers
// with those of TensorRT for RTX, telling it its own version.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

void* open_library(const char* name) {
  void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::abort();
  }
  return library;
}

template <typename Function>
Function builder(const char* name) {
  static void* const library = open_library("libtensorrt_rtx.so");
  return reinterpret_cast<Function>(dlsym(library, name));
}

template <typename Function>
Function parser(const char* name) {
  static void* const library = open_library("libtensorrt_onnxparser_rtx.so.1");
  return reinterpret_cast<Function>(dlsym(library, name));
}

using Make = void* (*)(void*, int32_t);
using MakeWithLogger = void* (*)(void*, void*, int32_t);

int32_t library_version() { return builder<int32_t (*)()>("getInferLibVersion")(); }
int32_t parser_version() { return parser<int32_t (*)()>("getNvOnnxParserVersion")(); }

}  // namespace

extern "C" {

void* createInferBuilder_INTERNAL(void* logger, int32_t) noexcept {
  return builder<Make>(__func__)(logger, library_version());
}
void* createInferRuntime_INTERNAL(void* logger, int32_t) noexcept {
  return builder<Make>(__func__)(logger, library_version());
}
void* createInferRefitter_INTERNAL(void* engine, void* logger, int32_t) noexcept {
  return builder<MakeWithLogger>(__func__)(engine, logger, library_version());
}
void* getPluginRegistry() noexcept { return builder<void* (*)()>(__func__)(); }
void* getBuilderPluginRegistry(int32_t capability) noexcept {
  return builder<void* (*)(int32_t)>(__func__)(capability);
}
int32_t getNvOnnxParserVersion() noexcept { return parser_version(); }
void* createNvOnnxParser_INTERNAL(void* network, void* logger, int32_t) noexcept {
  return parser<MakeWithLogger>(__func__)(network, logger, parser_version());
}
void* createNvOnnxParserRefitter_INTERNAL(void* refitter, void* logger, int32_t) noexcept {
  return parser<MakeWithLogger>(__func__)(refitter, logger, parser_version());
}
bool initLibNvInferPlugins(void*, const char*) noexcept { return true; }

}  // extern "C"
