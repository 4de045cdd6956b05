// What tests reach of the emulated card.
#include <cuda_runtime.h>

EmulatedCard emulator_card{0, -1, 0, 0, 13000, 13000, 0, 0, 0, 0, 0, 0, 0, INT64_MAX / 2, 0};

// Enqueues a call of the host, in the place of a network's kernels.
extern "C" __attribute__((visibility("default"))) int emulator_enqueue(void* stream, void (*function)()) {
  return emulator::enqueue(static_cast<cudaStream_t>(stream), function);
}
