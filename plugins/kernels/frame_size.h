// The size of a frame.
#pragma once

namespace solo {

struct FrameSize {
  int height, width;
};

constexpr int kMaxSide = 65535;  // pixels of a frame: the largest JPEG

}  // namespace solo
