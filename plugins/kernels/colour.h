// From Y'CbCr to RGB.
#pragma once

namespace solo {

// How Y, U and V of a picture are meant.
struct ColourSpace {
  bool bt709;       // else BT.601
  bool full_range;  // Y in 0..255 instead of 16..235, U and V in 0..255 instead of 16..240
};

// R = luma * (Y - black) + red_v * (V - 128)
// G = luma * (Y - black) - green_u * (U - 128) - green_v * (V - 128)
// B = luma * (Y - black) + blue_u * (U - 128), all in 0..255.
struct YuvToRgb {
  double black, luma, red_v, green_u, green_v, blue_u;
};

// Source: ITU-R BT.601-7, section 2.5, and BT.709-6, sections 3.2 to 3.5: Y' = Kr R + Kg G + Kb B.
constexpr YuvToRgb yuv_to_rgb(ColourSpace space) {
  const double kr = space.bt709 ? 0.2126 : 0.299, kb = space.bt709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
  const double luma = space.full_range ? 1.0 : 255.0 / 219, chroma = space.full_range ? 1.0 : 255.0 / 224;
  const double red_v = 2 * (1 - kr) * chroma, blue_u = 2 * (1 - kb) * chroma;
  return {space.full_range ? 0.0 : 16.0, luma, red_v, blue_u * kb / kg, red_v * kr / kg, blue_u};
}

}  // namespace solo
