"""From a frame to the input tensor of a network, and back from its coordinates to the frame's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.errors import UsageError
from solo_rt.spec import InputSpec
from solo_rt.types import Frame

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where the pixels of a frame lie in the network's input: scaled to fit, in the top-left corner.

    Points are xy with the origin at the top-left corner of the top-left pixel, whose centre is (0.5, 0.5).
    """

    frame_size: tuple[int, int]  # height, width in pixels
    input_size: tuple[int, int]  # height, width of the tensor
    resized: tuple[int, int]  # height, width of the picture in the tensor, at least 1

    def __post_init__(self) -> None:
        (height, width), (most_high, most_wide) = self.resized, self.input_size
        if min(*self.frame_size, height, width) < 1 or height > most_high or width > most_wide:
            raise UsageError(
                f"letterbox: expected a frame of at least 1x1 and a resized size within {most_high}x{most_wide}, "
                f"got {self.frame_size[0]}x{self.frame_size[1]} and {height}x{width}"
            )

    @classmethod
    def fit(cls, frame_size: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
        """Return the largest placement that keeps the aspect ratio, sides rounded to whole pixels."""
        factor = min(target / side for side, target in zip(frame_size, input_size, strict=True))
        height, width = (max(1, int(side * factor + 0.5)) for side in frame_size)
        return cls(frame_size, input_size, (height, width))

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per frame pixel: vertical, horizontal; they differ a little where a side was rounded."""
        return self.resized[0] / self.frame_size[0], self.resized[1] / self.frame_size[1]

    def step(self, stride: int) -> tuple[float, float]:
        """Return grid cells per frame pixel, vertical and horizontal, of a grid with one cell per `stride` pixels."""
        return self.scale[0] / stride, self.scale[1] / stride


def prepare(frame: Frame, spec: InputSpec, *, out: Float32 | None = None) -> tuple[Float32, Letterbox]:
    """Return the input tensor `float32 [1, 3, H, W] RGB, normalised, padded with 0` and its geometry.

    `out` is written and returned when given; otherwise the array is new. The frame's planes are resized bilinearly
    (half-pixel centres, edges continued, no prefilter: as OpenCV's INTER_LINEAR) with chroma samples taken to lie in
    the middle of their four pixels, then converted with the frame's own matrix and range.
    Raises: UsageError for a frame on a GPU, or if `out` has another shape or dtype, or cannot be written.
    """
    frame.require_planes()
    shape = (1, 3, spec.height, spec.width)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not (out.flags.c_contiguous and out.flags.writeable):
        raise UsageError(
            f"prepare: expected a contiguous, writable float32 {list(shape)} as out, got {out.dtype} {list(out.shape)}"
        )
    box = Letterbox.fit((frame.height, frame.width), (spec.height, spec.width))
    _native.letterbox(frame.planes, frame.matrix == "bt709", frame.full_range, box.resized, spec.mean, spec.std, out[0])
    return out, box
