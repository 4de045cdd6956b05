// What faster kernels would rest on, for a card to answer: which lane holds which sum of mma.m16n8k16 (FP16) and of
// m16n8k256 (bits, and.popc), bits of a row put together from registers, and how fast both are.
//
//     nvcc -std=c++17 -O3 -arch=native -run tests/plugins/fragments.cu
//
// Prints a line for each; ends with 1 where the layout is not the one that PTX documents (ISA, warp-level matrices).
#include <cuda_fp16.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr int kRows = 16, kColumns = 8, kWords = 8;        // of a product, 8 words of 32 bits deep
constexpr int kChains = 4, kTimes = 4096, kThreads = 256;  // of the measurement of rates

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

__device__ void multiply(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ void multiply(int (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// a [kRows, kWords] times b [kColumns, kWords], words of two channels in FP16 and of 32 in bits: either way a lane has
// words `member` and `member + 4` of its rows. `bits` says for every row which sums are above a limit.
template <typename Sum>
__global__ void product(const uint32_t* a, const uint32_t* b, Sum limit, Sum* sums, uint32_t* bits) {
  const int group = static_cast<int>(threadIdx.x) / 4, member = static_cast<int>(threadIdx.x) % 4;
  const uint32_t left[4] = {a[group * kWords + member], a[(group + 8) * kWords + member],
                            a[group * kWords + member + 4], a[(group + 8) * kWords + member + 4]};
  const uint32_t right[2] = {b[group * kWords + member], b[group * kWords + member + 4]};
  Sum found[4] = {};
  multiply(found, left, right);
  for (int half = 0; half < 2; ++half) {
    const int row = group + 8 * half;
    unsigned mine = 0;
    for (int i = 0; i < 2; ++i) {
      const Sum sum = found[2 * half + i];
      sums[row * kColumns + 2 * member + i] = sum;
      mine |= static_cast<unsigned>(sum > limit) << (2 * member + i);
    }
    mine |= __shfl_xor_sync(0xffffffffu, mine, 1);
    mine |= __shfl_xor_sync(0xffffffffu, mine, 2);
    if (member == 0) bits[row] = mine;
  }
}

template <typename Sum>
__global__ void __launch_bounds__(kThreads) repeat(Sum* out) {
  const uint32_t a[4] = {threadIdx.x, 0, 1, 0}, b[2] = {threadIdx.x, 1};
  Sum sums[kChains][4] = {};
  for (int i = 0; i < kTimes; ++i) {
    for (auto& chain : sums) multiply(chain, a, b);
  }
  for (auto& chain : sums) out[blockIdx.x * kThreads + threadIdx.x] += chain[0];
}

template <typename T>
T* memory(int count) {
  T* found = nullptr;
  check(cudaMallocManaged(&found, sizeof(T) * static_cast<size_t>(count)));
  return found;
}

// Returns the rate of an instruction in 1e12 a second, `each` of what counts to one of a thread.
template <typename Sum>
double rate(void (*kernel)(Sum*), int blocks, double each) {
  auto* out = memory<Sum>(blocks * kThreads);
  cudaEvent_t marks[3];
  for (auto& mark : marks) check(cudaEventCreate(&mark));
  for (auto& mark : marks) {  // the first launch wakes the card
    check(cudaEventRecord(mark));
    kernel<<<blocks, kThreads>>>(out);
  }
  check(cudaDeviceSynchronize());
  float ms = 0;
  check(cudaEventElapsedTime(&ms, marks[1], marks[2]));
  return each * blocks * kThreads * kChains * kTimes / (1e9 * ms);
}

// Returns whether a product, and its bits, are where they should be; `add` is what two words add to a sum.
template <typename Sum>
bool is_as_documented(const char* name, uint32_t (*word)(int), Sum (*add)(uint32_t, uint32_t), Sum limit) {
  auto *a = memory<uint32_t>(kRows * kWords), *b = memory<uint32_t>(kColumns * kWords), *bits = memory<uint32_t>(kRows);
  auto* sums = memory<Sum>(kRows * kColumns);
  for (int i = 0; i < kRows * kWords; ++i) a[i] = word(i);
  for (int i = 0; i < kColumns * kWords; ++i) b[i] = word(1000 + i);
  product<<<1, 32>>>(a, b, limit, sums, bits);
  check(cudaDeviceSynchronize());
  int wrong = 0;
  for (int i = 0; i < kRows * kColumns; ++i) {
    const int row = i / kColumns, column = i % kColumns;
    Sum sum = 0;
    for (int w = 0; w < kWords; ++w) sum += add(a[row * kWords + w], b[column * kWords + w]);
    wrong += sums[i] != sum || (bits[row] >> column & 1u) != static_cast<uint32_t>(sum > limit);
  }
  std::printf("%-28s %s\n", name, wrong == 0 ? "as documented" : "NOT as documented");
  return wrong == 0;
}

uint32_t some_bits(int i) { return static_cast<uint32_t>(i + 1) * 2654435761u & static_cast<uint32_t>(i + 7) * 40503u; }

uint32_t some_halves(int i) {  // two whole numbers of -3 to 3, whose products add up exactly
  const auto half = [](int value) { return uint32_t{__half_raw(__float2half(static_cast<float>(value))).x}; };
  return half(i * 5 % 7 - 3) | half(i % 6 - 3) << 16;
}

float dot(uint32_t a, uint32_t b) {
  const auto number = [](uint32_t bits) { return __half2float(__half_raw{static_cast<unsigned short>(bits)}); };
  return number(a) * number(b) + number(a >> 16) * number(b >> 16);
}

}  // namespace

int main() {
  int major = 0, processors = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0));
  if (major < 8) {
    std::puts("this card has neither: they came with compute capability 8.0");
    return 0;
  }
  const bool halves = is_as_documented<float>("fragments of m16n8k16, FP16", some_halves, dot, 0);
  const bool bits = is_as_documented<int>(
      "fragments of m16n8k256, bits", some_bits, [](auto a, auto b) { return __builtin_popcount(a & b); }, 19);
  const int blocks = 8 * processors;
  const double share = kRows * kColumns / 32.0;  // of a thread, of a product
  std::printf("%-28s %7.1f TFLOP/s\n", "rate of m16n8k16, FP16", rate<float>(repeat, blocks, share * 16 * 2));
  std::printf("%-28s %7.2f T words/s\n", "rate of m16n8k256, bits", rate<int>(repeat, blocks, share * kWords));
  return halves && bits ? 0 : 1;
}
