"""Text on coloured paper, drawn in a frame's own pixel format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import Rgb
from solo_rt.types import ColourMatrix, Frame, PixelFormat, UInt8

_FONT = cv2.FONT_HERSHEY_DUPLEX


def plane_colours(frame: Frame, rgb: UInt8) -> UInt8:
    """Return RGB colours `uint8 [N, 3]` in the channels of the frame: as they are, or YUV in its matrix and range."""
    return _in_channels(rgb, frame.pixel_format, frame.matrix, frame.full_range)


def _in_channels(rgb: UInt8, pixel_format: PixelFormat, matrix: ColourMatrix, full_range: bool) -> UInt8:
    if pixel_format == "rgb24":
        return rgb
    kr, kb = (0.2126, 0.0722) if matrix == "bt709" else (0.299, 0.114)  # ITU-R BT.709-6 and BT.601-7
    r, g, b = rgb.astype(np.float64).T
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    black, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 219 / 255, 224 / 255)
    yuv: NDArray[np.float64] = np.stack([black + luma * y, 128 + chroma * u, 128 + chroma * v], -1)
    return np.rint(yuv).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Label:
    """A rectangle of one colour with text on it."""

    x: int  # of the top-left corner, even as y is, so that chroma samples belong to the label or do not
    y: int
    coverage: UInt8  # of the text, [height, width], even as well
    half_coverage: UInt8  # [height / 2, width / 2]
    colour: Rgb  # of the background


def label_height(frame: Frame) -> int:
    """Return how high labels are on frames of this size, in pixels: even, and never too small to be read."""
    return max(14, 2 * round(min(frame.height, frame.width) * 0.014))


def label_colours(frame: Frame, label: Label) -> UInt8:
    """Return the colours of the text and of the paper below it in the channels of the frame, `uint8 [2, 3]`.

    The text is black or white, whichever is easier to read on the label's colour.
    """
    return _ink_and_paper(label.colour, frame.pixel_format, frame.matrix, frame.full_range)


def draw_label(frame: Frame, planes: tuple[UInt8, ...], label: Label) -> None:
    """Write a label into `planes`, which are those of a picture like `frame`, as far as they reach."""
    mixtures = _mixtures(label.colour, frame.pixel_format, frame.matrix, frame.full_range)
    x, y = label.x, label.y
    if frame.pixel_format == "rgb24":
        _paste(planes[0][y:, x:], label.coverage, mixtures)
        return
    _paste(planes[0][y:, x:], label.coverage, mixtures[:, 0])
    for c in (1, 2):
        _paste(planes[c][y // 2 :, x // 2 :], label.half_coverage, mixtures[:, c])


def legible(text: str) -> str:
    """Return the text with a question mark for what cannot be drawn: OpenCV crashes at a file name that is no UTF-8."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@lru_cache(maxsize=1024)
def text_coverage(text: str, height: int, width: int | None = None) -> tuple[UInt8, UInt8]:
    """Return how much of each pixel the text covers, `uint8 [height, width]`, and the means of 2x2 pixels.

    Height and width are even; the width is that of the text unless given, and then text beyond it is cut off.
    """
    text = legible(text)
    (_, ascent), descent = cv2.getTextSize("Ag", _FONT, 1.0, 1)
    scale = 0.72 * height / (ascent + descent)
    (text_width, ascent), descent = cv2.getTextSize(text, _FONT, scale, 1)
    margin = height // 4
    coverage = np.zeros((height, width or (text_width + 2 * margin + 1) // 2 * 2), np.uint8)
    baseline = (height + ascent - descent) // 2 + descent // 3  # a little low, as most letters have no descender
    cv2.putText(coverage, text, (margin, baseline), _FONT, scale, 255, max(1, height // 32), cv2.LINE_AA)
    halves = coverage.reshape(height // 2, 2, -1, 2).mean((1, 3))
    return coverage, np.rint(halves).astype(np.uint8)


@lru_cache(maxsize=1024)
def _ink_and_paper(colour: Rgb, pixel_format: PixelFormat, matrix: ColourMatrix, full_range: bool) -> UInt8:
    red, green, blue = colour
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return _in_channels(
        np.array([[0] * 3 if bright else [255] * 3, colour], np.uint8), pixel_format, matrix, full_range
    )


@lru_cache(maxsize=1024)
def _mixtures(colour: Rgb, pixel_format: PixelFormat, matrix: ColourMatrix, full_range: bool) -> UInt8:
    """Return what each coverage makes of a label's text and paper, `uint8 [256, 3]`."""
    ink, paper = _ink_and_paper(colour, pixel_format, matrix, full_range)
    cover = np.arange(256, dtype=np.uint16)[:, None]
    mixtures: NDArray[np.uint16] = (cover * ink + (255 - cover) * paper + 127) // 255
    return mixtures.astype(np.uint8)


def _paste(plane: UInt8, coverage: UInt8, mixtures: UInt8) -> None:
    """Write a label into the top-left corner of `plane`, as far as it reaches."""
    height, width = plane.shape[:2]
    seen = coverage[:height, :width]
    plane[: coverage.shape[0], : coverage.shape[1]] = mixtures.take(seen, axis=0)
