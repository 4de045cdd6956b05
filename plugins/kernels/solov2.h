// SOLOv2 decoding: from the raw heads of the network to instances with small soft masks.
//
// This is the host-side driver of the kernels candidates, dynamic_conv, matrix_nms and mask_regions. Unlike them it
// owns memory, because how many candidates and instances a picture has is known only on the way.
#pragma once

#include <cstdint>
#include <vector>

#include "instruction_set.h"
#include "status.h"

namespace solo {

struct Solov2Tensors {
  const float* scores;          // [cells, classes] in 0..1, 0 where points NMS removed the cell
  const float* kernels;         // [cells, channels]
  const float* features;        // [channels, height, width]
  const int32_t* cell_strides;  // [cells] a mask must have more pixels than its level's stride
  int64_t cells;
  int64_t classes;
  int64_t channels;
  int64_t height;
  int64_t width;
};

struct Solov2Options {
  float score_threshold;  // strict
  double mask_threshold;  // strict, in [0, 1)
  int64_t nms_pre;
  bool linear;
  float sigma;
  float update_threshold;  // kept from here on
  int64_t max_instances;
  int threads;
  Isa isa;
};

struct Solov2Instances {
  std::vector<float> scores;       // [n] descending
  std::vector<int32_t> class_ids;  // [n]
  std::vector<int32_t> cells;      // [n] the grid cell that predicted the instance
  std::vector<int32_t> regions;    // [n, 4] xyxy half-open, grid cells
  std::vector<int64_t> offsets;    // [n + 1] into data
  std::vector<uint8_t> data;       // the soft masks cropped to their regions, above 127 inside
};

// Fills `out` with the instances of one picture.
//
// Equal scores are ranked by ascending candidate index, cell * classes + class_id. Candidates whose score is NaN do not
// exist, and a NaN logit is outside of its mask. For a mask threshold other than 0.5 the soft masks are shifted:
// sigmoid(logit - log(t / (1 - t))) crosses 0.5 exactly where sigmoid(logit) crosses t, so that "inside" means above
// 127.5 for every model. With threshold 0 all of a mask is inside.
// Returns kBadSize or kBadArgument as the kernels do. Throws std::bad_alloc.
// Source: SOLOv2 (arXiv 2003.10152), section 3.3.
Status solov2_decode(const Solov2Tensors& tensors, const Solov2Options& options, Solov2Instances* out);

}  // namespace solo
