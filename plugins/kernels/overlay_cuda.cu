// One launch; a block paints a tile of 64 x 16 pixels, a thread a quad of 2 x 2, which serves one chroma sample.
//
// Of each mask that meets the tile, the block first looks at the grid cells below it: all inside or all outside is
// known from them alone, which is most of a large frame. Only along the edges of masks are pixels evaluated one by one,
// into a bit per pixel with a halo for the outline: the distance to the nearest outside pixel of each row then says
// whether the disc around a pixel fits. Quads stay in registers until the last mask; tiles without a mask are left
// alone.
#include "blend.h"
#include "mask_grid.cuh"
#include "overlay.h"
#include "overlay_cuda.h"
#include "picture.cuh"

namespace solo {
namespace {

constexpr int kWidth = 64, kHeight = 16, kThreads = 256;
constexpr int kWords = kWidth / 32 + 2;  // of a row, with a halo of one word on either side
constexpr int kRows = kHeight + 2 * kMaxOutline;

struct Canvas {
  SoloPicture picture;
  MaskGrid grid;
  const uint8_t* colours;
  int alpha, outline;
  uint8_t half_widths[kMaxOutline + 1];  // of the disc, by distance from its middle row
};

// Blends a colour in with a weight per pixel, that of pixels beyond the picture being 0.
__device__ void blend_in(RgbQuad& quad, const int (&weights)[4], const uint8_t* colour, int) {
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < 3; ++c) {
      quad.samples[i][c] = blend(quad.samples[i][c], blend_keep(weights[i]), blend_add(colour[c], weights[i]));
    }
  }
}

// `scale` is 4 over the number of pixels of the quad that exist.
__device__ void blend_in(YuvQuad& quad, const int (&weights)[4], const uint8_t* colour, int scale) {
  int sum = 0;
  for (int i = 0; i < 4; ++i) {
    quad.luma[i] = blend(quad.luma[i], blend_keep(weights[i]), blend_add(colour[0], weights[i]));
    sum += weights[i];
  }
  const int mean = mean_weight(static_cast<uint16_t>(sum), scale);
  for (int c = 0; c < 2; ++c) quad.chroma[c] = blend(quad.chroma[c], blend_keep(mean), blend_add(colour[1 + c], mean));
}

// A tile's pixels of one mask. Pixels outside the frame count as inside.
struct TileMask {
  uint32_t inside[kRows][kWords];    // bit i of word w is pixel 32 (w - 1) + i of the tile
  uint8_t distances[kRows][kWidth];  // to the nearest outside pixel of the row, exact up to 32
};

__device__ int distance_to_outside(const uint32_t (&row)[kWords], int column) {
  const int word = 1 + column / 32, shift = column % 32;
  const uint64_t right = (uint64_t{row[word + 1]} << 32 | row[word]) >> shift;        // bit k: pixel column + k
  const uint64_t left = (uint64_t{row[word]} << 32 | row[word - 1]) << (31 - shift);  // bit 63 - k: pixel column - k
  const int after = ~right == 0 ? 64 : __ffsll(static_cast<long long>(~right)) - 1;
  return min(after, __clzll(static_cast<long long>(~left)));
}

// Fills the rows that a tile with its halo needs; all threads call it, and see the result.
__device__ void evaluate(const Canvas& canvas, const uint8_t* mask, int tile_x, int tile_y, TileMask& tile) {
  const int radius = canvas.outline, rows = kHeight + 2 * radius, lane = threadIdx.x % kWarp;
  const SoloPicture& p = canvas.picture;
  for (int i = threadIdx.x / kWarp; i < rows * kWords; i += kThreads / kWarp) {
    const int row = i / kWords, word = i % kWords;
    const int x = tile_x + 32 * (word - 1) + lane, y = tile_y - radius + row;
    const bool wanted =
        x >= max(tile_x - radius, 0) && x < min(tile_x + kWidth + radius, p.width) && y >= 0 && y < p.height;
    const bool inside = !wanted || holds(canvas.grid, mask, canvas.grid.y.position(y), canvas.grid.x.position(x));
    const unsigned bits = __ballot_sync(kFullWarp, inside);
    if (lane == 0) tile.inside[row][word] = bits;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < rows * kWidth; i += kThreads) {
    const int row = i / kWidth, column = i % kWidth;
    tile.distances[row][column] = static_cast<uint8_t>(distance_to_outside(tile.inside[row], column));
  }
  __syncthreads();
}

// Returns the weight of the tile's pixel (x, y).
__device__ int weight_of(const Canvas& canvas, const TileMask& tile, int x, int y) {
  const int radius = canvas.outline;
  if (tile.distances[y + radius][x] == 0) return 0;
  for (int reach = -radius; reach <= radius; ++reach) {
    const int half = canvas.half_widths[reach < 0 ? -reach : reach];
    if (tile.distances[y + radius + reach][x] <= half) return kFull;
  }
  return canvas.alpha;
}

template <typename Quad>
__global__ void __launch_bounds__(kThreads) paint(Canvas canvas) {
  __shared__ TileMask tile;
  __shared__ unsigned meets[kThreads / kWarp];
  const SoloPicture& p = canvas.picture;
  const MaskGrid& grid = canvas.grid;
  const int tile_x = blockIdx.x * kWidth, tile_y = blockIdx.y * kHeight, radius = canvas.outline;
  const int quad_x = 2 * (threadIdx.x % 32), quad_y = 2 * (threadIdx.x / 32);  // in the tile
  const int x = tile_x + quad_x, y = tile_y + quad_y;
  const bool exists = x < p.width && y < p.height;
  const int scale = (x + 1 < p.width ? 1 : 2) * (y + 1 < p.height ? 1 : 2);

  const CellRange rows(grid.y, tile_y, min(tile_y + kHeight, p.height) - 1);
  const CellRange columns(grid.x, tile_x, min(tile_x + kWidth, p.width) - 1);
  const CellRange halo_rows(grid.y, max(tile_y - radius, 0), min(tile_y + kHeight + radius, p.height) - 1);
  const CellRange halo_columns(grid.x, max(tile_x - radius, 0), min(tile_x + kWidth + radius, p.width) - 1);
  const int cells_across = halo_columns.last - halo_columns.first + 1;
  const int cells = cells_across * (halo_rows.last - halo_rows.first + 1);

  Quad quad;
  bool touched = false;  // the same for the whole block
  for (int end = grid.masks(); end > 0; end -= kThreads) {
    const int mine = end - 1 - static_cast<int>(threadIdx.x);
    const int32_t* region = grid.regions + 4 * max(mine, 0);
    const bool met = mine >= 0 && rows.meets(region[1], region[3]) && columns.meets(region[0], region[2]);
    const unsigned votes = __ballot_sync(kFullWarp, met);
    __syncthreads();  // the last round's votes are read
    if (threadIdx.x % kWarp == 0) meets[threadIdx.x / kWarp] = votes;
    __syncthreads();
    for (int warp = 0; warp < kThreads / kWarp; ++warp) {
      for (unsigned left = meets[warp]; left != 0; left &= left - 1) {
        const int index = end - 1 - (warp * kWarp + __ffs(static_cast<int>(left)) - 1);
        const uint8_t* mask = grid.mask(index);
        bool some_inside = false, some_outside = false;
        for (int i = threadIdx.x; i < cells; i += kThreads) {
          const int row = halo_rows.first + i / cells_across, column = halo_columns.first + i % cells_across;
          const bool inside = mask[row * grid.x.cells + column] > 127;
          some_inside |= inside;
          some_outside |= !inside;
        }
        if (!__syncthreads_or(some_inside)) continue;
        const bool mixed = __syncthreads_or(some_outside) != 0;
        if (mixed) evaluate(canvas, mask, tile_x, tile_y, tile);
        if (!exists) continue;
        if (!touched) quad.load(p, x, y);
        touched = true;
        int weights[4];
        for (int i = 0; i < 4; ++i) {
          const bool in_frame = x + i % 2 < p.width && y + i / 2 < p.height;
          weights[i] = !in_frame ? 0 : mixed ? weight_of(canvas, tile, quad_x + i % 2, quad_y + i / 2) : canvas.alpha;
        }
        blend_in(quad, weights, canvas.colours + 3 * index, scale);
      }
    }
  }
  if (touched) quad.store(p, x, y);
}

int check(const SoloPicture& picture, const SoloMaskGrid& masks, const SoloOverlayStyle& style) {
  const int bad = check_grid(masks, picture.height, picture.width);
  if (bad != SOLO_OK) return bad;
  if (picture.format < SOLO_RGB || picture.format > SOLO_NV12) return SOLO_BAD_ARGUMENT;
  const bool possible = style.alpha >= 0 && style.alpha <= kFull && style.outline >= 0 && style.outline <= kMaxOutline;
  return possible ? SOLO_OK : SOLO_BAD_ARGUMENT;
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_overlay(const SoloPicture* picture, const SoloMaskGrid* masks, const SoloOverlayStyle* style,
                      void* stream) {
  const int bad = check(*picture, *masks, *style);
  if (bad != SOLO_OK) return bad;
  Canvas canvas{*picture, make_grid(*masks), style->colours, style->alpha, style->outline, {}};
  for (int reach = 0, half = style->outline; reach <= style->outline; ++reach) {
    while (half * half + reach * reach > style->outline * style->outline) --half;
    canvas.half_widths[reach] = static_cast<uint8_t>(half);
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(picture->width, kWidth)),
                  static_cast<unsigned>(ceil_div(picture->height, kHeight)));
  return launch(is_yuv(*picture) ? paint<YuvQuad> : paint<RgbQuad>, grid, kThreads, stream, canvas);
}
