"""Instances drawn onto a frame: translucent masks with outlines, and labels.

Everything is drawn in the frame's own pixel format, so that a video frame needs no conversion on its way from the
decoder to the encoder, and only where there is something to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.errors import UsageError
from solo_rt.types import Frame, Instances, UInt8

# Note [Palette]
# Colour k has hue 250 + 137.508 k degrees in OKLCH, the golden angle, so that each falls into a gap that the earlier
# ones left; lightness 0.74, 0.66 and 0.84 in turn, so that near hues differ in lightness; and chroma 0.2, or as much as
# sRGB has there. Class ids beyond the table start again. tests/test_render.py derives it.
# fmt: off
PALETTE = (
    (96, 176, 255), (244, 82, 72), (0, 238, 173), (191, 143, 255), (189, 135, 0), (90, 222, 255), (255, 115, 176),
    (99, 168, 0), (182, 201, 255), (255, 132, 60), (0, 169, 156), (245, 171, 255), (194, 172, 0), (0, 157, 224),
    (255, 179, 184), (0, 204, 108), (148, 118, 255), (255, 187, 112), (0, 193, 209), (224, 84, 179), (186, 220, 0),
    (115, 172, 255), (243, 86, 46), (0, 236, 192), (206, 134, 255), (181, 140, 0), (119, 217, 255), (255, 119, 161),
    (62, 174, 31), (189, 198, 255), (255, 133, 0), (0, 168, 165),
)
# fmt: on

_FONT = cv2.FONT_HERSHEY_DUPLEX
_MAX_OUTLINE = 32  # kMaxOutline in plugins/kernels/overlay.h


@dataclass(frozen=True, slots=True)
class Style:
    """How instances are drawn."""

    alpha: float = 0.45  # opacity of a mask, 0..1
    outline: int | None = None  # thickness of its opaque outline in pixels, 0..32; None goes with the frame's size
    labels: bool = True  # class, track and score

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"style: expected alpha in 0..1, got {self.alpha}")
        if self.outline is not None and not 0 <= self.outline <= _MAX_OUTLINE:
            raise UsageError(f"style: expected outline in 0..{_MAX_OUTLINE} pixels, got {self.outline}")


DEFAULT_STYLE = Style()


def render(frame: Frame, instances: Instances, classes: Sequence[str], *, style: Style = DEFAULT_STYLE) -> Frame:
    """Return a copy of `frame` with the instances drawn on it, the best score on top; `frame` is left as it is.

    `classes` are the names by class id. Labels are cut off where the frame ends; a frame less than three of them high
    gets none.
    Raises: UsageError if the instances belong to a frame of another size or to other classes.
    """
    size = (frame.height, frame.width)
    if instances.frame_size != size:
        raise UsageError(f"render: expected instances of a frame of {size}, got {instances.frame_size}")
    if len(instances) and not 0 <= instances.class_ids.min() <= instances.class_ids.max() < len(classes):
        raise UsageError(f"render: expected class ids below {len(classes)}, got {instances.class_ids.max()}")
    planes = tuple(np.array(plane, order="C") for plane in frame.planes)
    colours = plane_colours(frame, np.array(PALETTE, np.uint8)[instances.class_ids % len(PALETTE)])
    masks = instances.masks
    outline = style.outline
    if outline is None:
        outline = min(max(1, round(min(size) / 400)), _MAX_OUTLINE)
    _native.overlay(
        planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, colours, style.alpha, outline
    )
    if style.labels:
        for label in reversed(_lay_out_labels(frame, instances, classes)):
            _draw_label(frame, planes, label)
    return replace(frame, planes=planes)


def plane_colours(frame: Frame, rgb: UInt8) -> UInt8:
    """Return RGB colours `uint8 [N, 3]` in the channels of the frame: as they are, or YUV in its matrix and range."""
    if frame.pixel_format == "rgb24":
        return rgb
    kr, kb = (0.2126, 0.0722) if frame.matrix == "bt709" else (0.299, 0.114)  # ITU-R BT.709-6 and BT.601-7
    r, g, b = rgb.astype(np.float64).T
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    black, luma, chroma = (0.0, 1.0, 1.0) if frame.full_range else (16.0, 219 / 255, 224 / 255)
    yuv: NDArray[np.float64] = np.stack([black + luma * y, 128 + chroma * u, 128 + chroma * v], -1)
    return np.rint(yuv).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Label:
    x: int  # of the top-left corner, even as y is, so that chroma samples belong to the label or do not
    y: int
    coverage: UInt8  # of the text, [height, width], even as well
    half_coverage: UInt8  # [height / 2, width / 2]
    colour: tuple[int, int, int]  # of the background, RGB


def _lay_out_labels(frame: Frame, instances: Instances, classes: Sequence[str]) -> list[_Label]:
    """Return a label for every instance that has a pixel, best score first and so first to choose its place."""
    height = max(14, 2 * round(min(frame.height, frame.width) * 0.014))
    if frame.height < 3 * height:
        return []
    labels: list[_Label] = []
    taken = np.empty((0, 4), np.int64)  # xyxy
    for i in range(len(instances)):
        if instances.boxes[i, 3] <= instances.boxes[i, 1]:
            continue
        class_id = int(instances.class_ids[i])
        track = "" if instances.track_ids is None else f" #{instances.track_ids[i]}"
        coverage, halves = _text_coverage(f"{classes[class_id]}{track} {instances.scores[i]:.2f}", height)
        width = coverage.shape[1]
        x, y = _place((height, width), _extent(instances, i), (frame.height, frame.width), taken)
        taken = np.vstack([taken, [x, y, x + width, y + height]])
        labels.append(_Label(x, y, coverage, halves, PALETTE[class_id % len(PALETTE)]))
    return labels


def _draw_label(frame: Frame, planes: tuple[UInt8, ...], label: _Label) -> None:
    red, green, blue = label.colour
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    ink, paper = plane_colours(frame, np.array([[0] * 3 if bright else [255] * 3, label.colour], np.uint8))
    x, y = label.x, label.y
    if frame.pixel_format == "rgb24":
        _paste(planes[0][y:, x:], label.coverage[..., None], ink, paper)
        return
    _paste(planes[0][y:, x:], label.coverage, ink[0], paper[0])
    for c in (1, 2):
        _paste(planes[c][y // 2 :, x // 2 :], label.half_coverage, ink[c], paper[c])


@lru_cache(maxsize=1024)
def _text_coverage(text: str, height: int) -> tuple[UInt8, UInt8]:
    """Return how much of each pixel the text covers, `uint8 [height, even width]`, and the means of 2x2 pixels."""
    (_, ascent), descent = cv2.getTextSize("Ag", _FONT, 1.0, 1)
    scale = 0.72 * height / (ascent + descent)
    (width, ascent), descent = cv2.getTextSize(text, _FONT, scale, 1)
    margin = height // 4
    coverage = np.zeros((height, (width + 2 * margin + 1) // 2 * 2), np.uint8)
    baseline = (height + ascent - descent) // 2 + descent // 3  # a little low, as most letters have no descender
    cv2.putText(coverage, text, (margin, baseline), _FONT, scale, 255, max(1, height // 32), cv2.LINE_AA)
    halves = coverage.reshape(height // 2, 2, -1, 2).mean((1, 3))
    return coverage, np.rint(halves).astype(np.uint8)


def _extent(instances: Instances, i: int) -> tuple[int, int, int]:
    """Return where a label of mask i belongs: the middle x of its upper quarter, and its y range."""
    top, bottom = (int(y) for y in instances.boxes[i, 1::2])
    inside = instances.masks.crop(i) > 127
    rows = np.nonzero(inside.any(1))[0]
    if len(rows) == 0:  # nothing but pixels between two samples, or none
        return int(instances.boxes[i, 0]), top, bottom
    upper = inside[rows[0] : rows[0] + (len(rows) + 3) // 4]
    x = (instances.masks.regions[i, 0] + np.nonzero(upper)[1].mean() + 0.5) / instances.masks.step[1]
    return int(x), top, bottom


def _place(
    size: tuple[int, int], extent: tuple[int, int, int], frame_size: tuple[int, int], taken: NDArray[np.int64]
) -> tuple[int, int]:
    """Return the even x, y of a label: above its mask, at its top, at its foot or below it, the first that is free."""
    height, width = size
    x, top, bottom = extent
    x = max(0, min(x - width // 2, frame_size[1] - width)) // 2 * 2
    places = [max(0, min(y, frame_size[0] - height)) // 2 * 2 for y in (top - height, top, bottom - height, bottom)]
    for y in places:
        apart = (taken[:, 0] >= x + width) | (taken[:, 2] <= x) | (taken[:, 1] >= y + height) | (taken[:, 3] <= y)
        if apart.all():
            return x, y
    return x, places[0]


def _paste(plane: UInt8, coverage: UInt8, ink: NDArray[np.uint8], paper: NDArray[np.uint8]) -> None:
    """Write a label into the top-left corner of `plane`, as far as it reaches."""
    target = plane[: coverage.shape[0], : coverage.shape[1]]
    cover = coverage[: target.shape[0], : target.shape[1]].astype(np.uint16)
    target[...] = (cover * ink + (255 - cover) * paper + 127) // 255
