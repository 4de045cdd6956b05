// One copy per plane, which the copy engines make.
#include "frame_size.h"
#include "launch.cuh"
#include "picture_copy_cuda.h"

namespace solo {
namespace {

struct Rows {
  int bytes, count;
};

// Returns what a plane holds; no rows if the format has no such plane.
Rows rows_of(const SoloPicture& picture, int plane) {
  const int half_height = (picture.height + 1) / 2, half_width = (picture.width + 1) / 2;
  switch (picture.format) {
    case SOLO_I420:
      return plane == 0 ? Rows{picture.width, picture.height} : Rows{half_width, half_height};
    case SOLO_NV12:
      return plane == 0 ? Rows{picture.width, picture.height} : Rows{2 * half_width, plane == 1 ? half_height : 0};
    default:
      return {3 * picture.width, plane == 0 ? picture.height : 0};
  }
}

int check(const SoloPicture& source, const SoloPicture& target) {
  if (source.height < 1 || source.width < 1 || source.height > kMaxSide || source.width > kMaxSide) {
    return SOLO_BAD_SIZE;
  }
  if (source.height != target.height || source.width != target.width) return SOLO_BAD_SIZE;
  if (source.format < SOLO_RGB || source.format > SOLO_NV12) return SOLO_BAD_ARGUMENT;
  return source.format == target.format ? SOLO_OK : SOLO_BAD_ARGUMENT;
}

}  // namespace
}  // namespace solo

using namespace solo;

int solo_cuda_copy_picture(const SoloPicture* source, const SoloPicture* target, void* stream) {
  int status = check(*source, *target);
  for (int plane = 0; plane < 3 && status == SOLO_OK; ++plane) {
    const Rows rows = rows_of(*source, plane);
    if (rows.count == 0) break;
    status = cuda_status(cudaMemcpy2DAsync(target->planes[plane], static_cast<size_t>(target->strides[plane]),
                                           source->planes[plane], static_cast<size_t>(source->strides[plane]),
                                           static_cast<size_t>(rows.bytes), static_cast<size_t>(rows.count),
                                           cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)));
  }
  return status;
}
