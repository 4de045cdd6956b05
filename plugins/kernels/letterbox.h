// A frame as the input tensor of a network, in one pass.
#pragma once

#include "colour.h"
#include "picture.h"
#include "status.h"

namespace solo {

struct LetterboxTarget {
  float* tensor;  // [3, height, width], RGB
  int height, width;
  int resized_height, resized_width;  // of the picture in its top-left corner, 1..height and 1..width
  float mean[3], std[3];              // std > 0
};

// Writes (value - mean) / std of the resized picture, values in 0..255, and 0 right of it and below.
//
// Resizing is bilinear between the four nearest samples with pixel centres at half positions, as OpenCV's INTER_LINEAR,
// edges continued. A chroma sample lies in the middle of its four luma pixels. Conversion to RGB follows the resizing,
// so that both are one affine map per pixel, and clamps to 0..255 as a picture in RGB would have been.
Status letterbox(const ConstPicture& picture, ColourSpace space, const LetterboxTarget& target);

}  // namespace solo
