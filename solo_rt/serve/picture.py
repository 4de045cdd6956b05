"""A result as a picture: scaled, filtered, drawn on and compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import Rgb, SemanticDecoder
from solo_rt.render import PALETTE, render, render_semantic
from solo_rt.render.shapes import draw_polyline
from solo_rt.serve.look import Look
from solo_rt.spec import ModelSpec
from solo_rt.result import Result
from solo_rt.types import IGNORED, Frame, Instances, SemanticMap, UInt8

QUALITY = 80  # of JPEG, 0..100
ZONE_COLOUR: Rgb = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a model's classes by id, and which of them are left unpainted."""

    palette: tuple[Rgb, ...]
    unpainted: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: ModelSpec) -> Colours:
        """Return those that all outputs use."""
        if isinstance(spec.decoder, SemanticDecoder):
            return cls(spec.decoder.palette, spec.decoder.unpainted)
        return cls(tuple(PALETTE[i % len(PALETTE)] for i in range(len(spec.classes))))


def make_picture(result: Result, look: Look, colours: Colours) -> bytes:
    """Return the result as JPEG. Raises: UsageError for a frame on a GPU."""
    frame = scaled(result.frame, look.width)
    drawn = _semantic(result, frame, look, colours) if result.semantic is not None else _instances(result, frame, look)
    if look.style.zones:
        for zone in result.zones:
            draw_polyline(drawn, _scaled_points(zone.points, result, frame), ZONE_COLOUR, closed=not zone.is_line)
    return encode(drawn)


def encode(frame: Frame) -> bytes:
    """Return a frame as JPEG."""
    rgb = frame.rgb()
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes every picture of 8 bits as JPEG"
    return bytes(data)


def scaled(frame: Frame, width: int | None) -> Frame:
    """Return the frame at a smaller width, which becomes even, with its own proportions; itself if it is no wider.

    What is drawn later is as sharp as on the whole frame, and costs less.
    """
    frame.require_planes()
    if width is None or width >= frame.width:
        return frame
    size = (width // 2 * 2, max(2, round(frame.height * width / frame.width) // 2 * 2))
    sizes = [size] if frame.pixel_format == "rgb24" else [size, *[(size[0] // 2, size[1] // 2)] * 2]
    to = zip(frame.planes, sizes, strict=True)
    return replace(frame, planes=tuple(_resized(plane, size) for plane, size in to))


def _resized(plane: UInt8, size: tuple[int, int]) -> UInt8:
    """Return a plane at a smaller width and height: halved by means, which OpenCV is quick at, and interpolated then.

    For 1080p at 1280, 640 and 320 that takes 0.6, 0.2 and 0.2 ms where means of any size take 2.9, 0.8 and 0.6 ms.
    """
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return plane if plane.shape[1::-1] == size else cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


def _instances(result: Result, frame: Frame, look: Look) -> Frame:
    found = result.instances
    kept = found.scores >= look.conf
    if look.classes is not None:
        kept &= np.isin(found.class_ids, list(look.classes))
    drawn = render(frame, _scaled_instances(found[kept], frame), result.classes, style=look.style)
    if look.style.tracks and len(result.trails) == len(found):
        for i in np.nonzero(kept)[0]:
            colour = PALETTE[found.class_ids[i] % len(PALETTE)]
            draw_polyline(drawn, _scaled_points(result.trails[i], result, frame), colour)
    return drawn


def _semantic(result: Result, frame: Frame, look: Look, colours: Colours) -> Frame:
    assert result.semantic is not None
    labels = result.semantic.labels
    if look.classes is not None:
        shown = np.full(256, IGNORED, np.uint8)
        ids = [i for i in look.classes if i < IGNORED]
        shown[ids] = ids
        labels = shown[labels]
    found = SemanticMap((frame.height, frame.width), labels)
    unpainted: Sequence[int] = colours.unpainted if look.style.masks else range(len(colours.palette))
    return render_semantic(frame, found, result.classes, palette=colours.palette, unpainted=unpainted, style=look.style)


def _scaled_instances(found: Instances, frame: Frame) -> Instances:
    """Return the instances on a frame of another size: soft masks are on a grid of their own."""
    height, width = found.frame_size
    if (height, width) == (frame.height, frame.width):
        return found
    down, along = frame.height / height, frame.width / width
    step = (found.masks.step[0] / down, found.masks.step[1] / along)
    boxes = found.boxes * np.array([along, down] * 2, np.float32)
    boxes[:, :2], boxes[:, 2:] = np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])
    return replace(found, frame_size=(frame.height, frame.width), boxes=boxes, masks=replace(found.masks, step=step))


def _scaled_points(points: NDArray[np.float32], result: Result, frame: Frame) -> NDArray[np.float32]:
    height, width = result.found.frame_size
    ratio = np.array([frame.width / width, frame.height / height], np.float32)
    return (points * ratio).astype(np.float32)
