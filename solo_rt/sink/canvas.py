"""Frames as FFmpeg pictures of one size, one layout and one meaning of colour: what an encoder takes."""

from __future__ import annotations

from dataclasses import dataclass

import av
import cv2
import numpy as np

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX, default_matrix
from solo_rt.types import ColourMatrix, Frame, UInt8


@dataclass(frozen=True, slots=True)
class Canvas:
    """The yuv420p picture that every frame of one output is painted on. Width and height are even."""

    width: int
    height: int
    matrix: ColourMatrix
    full_range: bool

    @classmethod
    def fitting(cls, frame: Frame) -> Canvas:
        """Return the canvas of a file that begins with `frame`: its size, rounded up to even, and its colours.

        RGB frames get limited range and the matrix that players assume for their height.
        """
        is_rgb = frame.pixel_format == "rgb24"
        return cls(
            width=even(frame.width),
            height=even(frame.height),
            matrix=default_matrix(frame.height) if is_rgb else frame.matrix,
            full_range=frame.full_range and not is_rgb,
        )

    def has_colours_of(self, frame: Frame) -> bool:
        """Return whether samples mean the same here as in the frame."""
        return frame.pixel_format == "yuv420p" and (frame.matrix, frame.full_range) == (self.matrix, self.full_range)

    def paint(self, frame: Frame) -> av.VideoFrame:
        """Return a new picture showing the frame; the frame may be reused at once.

        An odd width or height repeats the last column or row once. A frame of another size is scaled to fit, keeping
        its proportions, centred on black. Planes are copied by memcpy without holding the GIL, which
        costs less than 1% of encoding them.
        """
        planes = _pad_to_even(frame.planes)
        h, w = planes[0].shape[:2]
        if self.has_colours_of(frame) and (w, h) == (self.width, self.height):
            return _copy_planes(planes)
        scale = min(self.width / w, self.height / h)
        inner_w = max(2, even(min(self.width, round(w * scale))))
        inner_h = max(2, even(min(self.height, round(h * scale))))
        inner = self._convert(frame, planes, inner_w, inner_h)
        return inner if (inner_w, inner_h) == (self.width, self.height) else self._letterbox(inner)

    def _convert(self, frame: Frame, planes: tuple[UInt8, ...], width: int, height: int) -> av.VideoFrame:
        is_rgb = frame.pixel_format == "rgb24"
        picture = av.VideoFrame.from_numpy_buffer(planes[0], "rgb24") if is_rgb else _copy_planes(planes)
        return picture.reformat(
            width=width,
            height=height,
            format="yuv420p",
            src_colorspace=None if is_rgb else TAG_OF_MATRIX[frame.matrix],
            dst_colorspace=TAG_OF_MATRIX[self.matrix],
            src_color_range=None if is_rgb else (FULL if frame.full_range else LIMITED),
            dst_color_range=FULL if self.full_range else LIMITED,
            interpolation="AREA" if height < planes[0].shape[0] else "BILINEAR",
            threads=1,
        )

    def _letterbox(self, inner: av.VideoFrame) -> av.VideoFrame:
        picture = av.VideoFrame(self.width, self.height, "yuv420p")
        left, top = (self.width - inner.width) // 4 * 2, (self.height - inner.height) // 4 * 2  # even: chroma agrees
        black = (0 if self.full_range else 16, 128, 128)
        for k, (target, source, value) in enumerate(zip(_views(picture), _views(inner), black, strict=True)):
            x, y = (left, top) if k == 0 else (left // 2, top // 2)
            target[:] = value
            target[y : y + source.shape[0], x : x + source.shape[1]] = source
        return picture


def even(size: int) -> int:
    """Return the size, rounded up to even."""
    return size + size % 2


def _pad_to_even(planes: tuple[UInt8, ...]) -> tuple[UInt8, ...]:
    """Return planes of even height and width; chroma of 4:2:0 already has half of that."""
    h, w = planes[0].shape[:2]
    if h % 2 == 0 and w % 2 == 0:
        return planes
    first = cv2.copyMakeBorder(planes[0], 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
    return (np.asarray(first, np.uint8), *planes[1:])


def _copy_planes(planes: tuple[UInt8, ...]) -> av.VideoFrame:
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, "yuv420p")
    for target, plane in zip(_views(picture), planes, strict=True):
        np.copyto(target, plane)
    return picture


def _views(picture: av.VideoFrame) -> tuple[UInt8, ...]:
    """Return Y, U, V of a picture of even size as writable views `uint8 [h, w]`."""
    return tuple(
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in picture.planes
    )
