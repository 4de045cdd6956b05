#include <algorithm>

#include "parallel.h"
#include "weight_gradient.h"

namespace solo {
namespace {

// For each tap this is a product of two matrices, the pixels of x by those of dy. A tile of it stays in registers while
// all pixels of a strip pass. Strips are packed, tile by tile, so that what a tile reads stays in the first cache.
constexpr int kRows = 6;      // channels of x in a tile
constexpr int kColumns = 16;  // channels of dy in it
constexpr int kTile = kRows * kColumns;
constexpr int64_t kStrip = 512;              // pixels of dy, if a row has no more
constexpr int64_t kGroup = 8;                // blocks of kRows channels that a piece of the work has at most
constexpr int64_t kPieces = 16;              // at least, where there are as many strips
constexpr int64_t kWorkPerThread = 1 << 22;  // multiply-adds that outweigh the start of a thread (about 30 us)

int64_t blocks_of(int64_t channels, int64_t block) { return (channels + block - 1) / block; }

// How the work is cut: pieces of some strips by some channels of x, each with sums of its own.
struct Cut {
  int64_t taps, rows, columns;  // blocks of channels of x and of dy
  int64_t strip_rows, strips;   // of a picture
  int64_t window_rows, window;  // what a strip reads of x, rows and pixels in one
  int64_t group, groups;        // blocks of channels of x in a piece, and how many such groups there are
  int64_t parts;                // of the strips of all pictures

  explicit Cut(const Convolution& conv)
      : taps(conv.kernel * conv.kernel),
        rows(blocks_of(conv.channels, kRows)),
        columns(blocks_of(conv.out_channels, kColumns)),
        strip_rows(std::clamp<int64_t>(kStrip / conv.out_width(), 1, conv.out_height())),
        strips(blocks_of(conv.out_height(), strip_rows)),
        window_rows((strip_rows - 1) * conv.stride + conv.reach() + 1),
        window((conv.out_width() - 1) * conv.stride + conv.reach() + 1),
        group(std::min(kGroup, rows)),
        groups(blocks_of(rows, group)),
        parts(std::min(blocks_of(kPieces, groups), conv.batch * strips)) {}

  int64_t sums() const { return taps * group * columns * kTile; }  // of a piece
  int64_t packed_x() const { return window_rows * window * kRows; }
  int64_t packed_dy(const Convolution& conv) const { return strip_rows * conv.out_width() * columns * kColumns; }
};

struct Job {
  const Convolution& conv;
  const Cut& cut;
  const float* x;
  const float* dy;
  float* sums;     // [groups][parts][group][columns][taps][kRows][kColumns]
  float* scratch;  // [threads], packed_x() and packed_dy() each
};

// Copies the first `count` of kWidth numbers, and zeros behind them.
template <int kWidth>
SOLO_INLINE void copy_block(const float* from, int64_t count, float* to) {
  if (count >= kWidth) {
    for (int i = 0; i < kWidth; ++i) to[i] = from[i];
  } else {
    for (int i = 0; i < kWidth; ++i) to[i] = i < count ? from[i] : 0.0f;
  }
}

// Packs one block of channels of what `rows` rows of dy from `first` on read of a picture x: [rows][window][kRows].
SOLO_INLINE void pack_x(const Job& job, const float* x, int64_t block, int64_t first, int64_t rows, float* to) {
  const Convolution& conv = job.conv;
  const int64_t channel = block * kRows, count = conv.channels - channel;
  const int64_t begin = std::min(conv.padding, job.cut.window);  // what lies in the picture of a row
  const int64_t end = std::clamp(conv.width + conv.padding, begin, job.cut.window);
  for (int64_t row = 0; row < (rows - 1) * conv.stride + conv.reach() + 1; ++row, to += job.cut.window * kRows) {
    const int64_t y = first * conv.stride - conv.padding + row;
    if (y < 0 || y >= conv.height) {
      std::fill_n(to, job.cut.window * kRows, 0.0f);
      continue;
    }
    const float* from = x + y * conv.width * conv.channels + channel;
    std::fill_n(to, begin * kRows, 0.0f);
    for (int64_t i = begin; i < end; ++i, from += conv.channels) copy_block<kRows>(from, count, to + i * kRows);
    std::fill(to + end * kRows, to + job.cut.window * kRows, 0.0f);
  }
}

// Packs `pixels` pixels of dy: [columns][strip_rows * out_width][kColumns].
SOLO_INLINE void pack_dy(const Job& job, const float* dy, int64_t pixels, float* to) {
  const int64_t channels = job.conv.out_channels, stride = job.cut.strip_rows * job.conv.out_width() * kColumns;
  for (int64_t block = 0; block < job.cut.columns; ++block, to += stride) {
    const int64_t channel = block * kColumns;
    for (int64_t i = 0; i < pixels; ++i) {
      copy_block<kColumns>(dy + i * channels + channel, channels - channel, to + i * kColumns);
    }
  }
}

// Adds to a tile of sums the products of packed pixels: of each row of dy, of as many pixels as it has.
template <int kLanes>
SOLO_INLINE void multiply(const float* x, int64_t row_step, int64_t pixel_step, const float* dy, int64_t rows,
                          int64_t pixels, float* tile) {
  typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
  constexpr int kVectors = kColumns / kLanes;
  Vector sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = *reinterpret_cast<const Vector*>(tile + r * kColumns + v * kLanes);
  }
  for (int64_t row = 0; row < rows; ++row, x += row_step) {
    const float* at = x;
    for (int64_t i = 0; i < pixels; ++i, at += pixel_step, dy += kColumns) {
      Vector g[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) g[v] = *reinterpret_cast<const Vector*>(dy + v * kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[r][v] += at[r] * g[v];
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Vector*>(tile + r * kColumns + v * kLanes) = sums[r][v];
  }
}

template <int kLanes>
SOLO_INLINE void add_piece(const Job& job, int thread, int64_t piece) {
  const Convolution& conv = job.conv;
  const Cut& cut = job.cut;
  const int64_t width = conv.out_width(), height = conv.out_height(), strips = conv.batch * cut.strips;
  const int64_t part = piece % cut.parts, first_block = piece / cut.parts * cut.group;
  const int64_t blocks = std::min(cut.group, cut.rows - first_block);
  float* packed_x = job.scratch + thread * (cut.packed_x() + cut.packed_dy(conv));
  float* packed_dy = packed_x + cut.packed_x();
  float* sums = job.sums + piece * cut.sums();
  std::fill_n(sums, cut.sums(), 0.0f);
  for (int64_t strip = part * strips / cut.parts; strip < (part + 1) * strips / cut.parts; ++strip) {
    const int64_t picture = strip / cut.strips, first = strip % cut.strips * cut.strip_rows;
    const int64_t rows = std::min(cut.strip_rows, height - first);
    pack_dy(job, job.dy + (picture * height + first) * width * conv.out_channels, rows * width, packed_dy);
    const float* x = job.x + picture * conv.height * conv.width * conv.channels;
    for (int64_t block = 0; block < blocks; ++block) {
      pack_x(job, x, first_block + block, first, rows, packed_x);
      for (int64_t column = 0; column < cut.columns; ++column) {
        const float* dy = packed_dy + column * cut.strip_rows * width * kColumns;
        for (int64_t tap = 0; tap < cut.taps; ++tap) {
          const int64_t down = tap / conv.kernel * conv.dilation, right = tap % conv.kernel * conv.dilation;
          float* tile = sums + ((block * cut.columns + column) * cut.taps + tap) * kTile;
          multiply<kLanes>(packed_x + (down * cut.window + right) * kRows, conv.stride * cut.window * kRows,
                           conv.stride * kRows, dy, rows, width, tile);
        }
      }
    }
  }
}

using AddPiece = void(const Job&, int, int64_t);

#if defined(__x86_64__)
SOLO_TARGET_AVX512 void add_avx512(const Job& job, int thread, int64_t piece) { add_piece<16>(job, thread, piece); }
SOLO_TARGET_AVX2 void add_avx2(const Job& job, int thread, int64_t piece) { add_piece<8>(job, thread, piece); }
#endif
void add_plain(const Job& job, int thread, int64_t piece) { add_piece<4>(job, thread, piece); }

AddPiece* adder_for([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return add_avx512;
  if (isa == Isa::kAvx2) return add_avx2;
#endif
  return add_plain;
}

// Writes the gradient of one group of channels of x from the sums of its parts.
void write_group(const Job& job, int64_t group, float* dweights) {
  const Convolution& conv = job.conv;
  const Cut& cut = job.cut;
  const int64_t begin = group * cut.group * kRows, end = std::min(begin + cut.group * kRows, conv.channels);
  const float* sums = job.sums + group * cut.parts * cut.sums();
  for (int64_t out = 0; out < conv.out_channels; ++out) {
    for (int64_t channel = begin; channel < end; ++channel) {
      const int64_t tiles = ((channel - begin) / kRows * cut.columns + out / kColumns) * cut.taps;
      const float* at = sums + tiles * kTile + channel % kRows * kColumns + out % kColumns;
      for (int64_t tap = 0; tap < cut.taps; ++tap, at += kTile) {
        double sum = 0;
        for (int64_t part = 0; part < cut.parts; ++part) sum += static_cast<double>(at[part * cut.sums()]);
        dweights[(out * conv.channels + channel) * cut.taps + tap] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace

int64_t weight_gradient_workspace(const Convolution& conv, int threads) {
  constexpr int64_t kMost = 1 << 20, kMostTaps = 16;
  for (const int64_t size : {conv.batch, conv.height, conv.width, conv.channels, conv.out_channels, conv.stride}) {
    if (size < 1 || size > kMost) return -1;
  }
  if (threads < 1 || conv.kernel < 1 || conv.kernel > kMostTaps || conv.dilation < 1 || conv.dilation > kMost)
    return -1;
  if (conv.padding < 0 || conv.padding > kMost) return -1;
  const int64_t spread = conv.reach() + 1 - 2 * conv.padding;
  if (conv.height < spread || conv.width < spread) return -1;
  const Cut cut(conv);
  const int64_t shared = cut.groups * cut.parts * cut.sums(), each = cut.packed_x() + cut.packed_dy(conv);
  constexpr auto kBytes = static_cast<int64_t>(sizeof(float));
  return workspace_of(shared * kBytes, each * kBytes, threads);
}

Status weight_gradient(const Convolution& conv, const float* x, const float* dy, int threads, Isa isa, void* workspace,
                       int64_t workspace_bytes, float* dweights) {
  if (threads < 1 || !has_isa(isa)) return Status::kBadArgument;
  const int64_t needed = weight_gradient_workspace(conv, threads);
  if (needed < 0) return Status::kBadSize;
  if (workspace_bytes < needed) return Status::kTooSmall;
  const Cut cut(conv);
  auto* sums = static_cast<float*>(workspace);
  const Job job{conv, cut, x, dy, sums, sums + cut.groups * cut.parts * cut.sums()};
  const int64_t work = conv.batch * conv.out_height() * conv.out_width() * conv.channels * conv.out_channels * cut.taps;
  const int useful = static_cast<int>(std::clamp<int64_t>(work / kWorkPerThread, 1, threads));
  AddPiece* add = adder_for(isa);
  parallel_for(useful, cut.groups * cut.parts, [&](int thread, int64_t piece) { add(job, thread, piece); });
  parallel_for(useful, cut.groups, [&](int, int64_t group) { write_group(job, group, dweights); });
  return Status::kOk;
}

}  // namespace solo
