"""A result as a picture: filtered, scaled, drawn on and compressed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from solo_rt.result import Result
from solo_rt.serve.look import Look
from solo_rt.types import IGNORED, Frame, Instances, SemanticMap, UInt8

QUALITY = 80  # of JPEG, 0..100


def make_picture(result: Result, look: Look) -> bytes:
    """Return the result as JPEG. Raises: UsageError for a frame on a GPU."""
    return encode(scaled(chosen(result, look), look.width).draw(look.style))


def encode(frame: Frame) -> bytes:
    """Return a frame as JPEG."""
    rgb = frame.rgb()
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes every picture of 8 bits as JPEG"
    return bytes(data)


def chosen(result: Result, look: Look) -> Result:
    """Return the result with the objects, or the classes, that are to be shown."""
    found = result.found
    if isinstance(found, SemanticMap):
        if look.classes is None:
            return result
        shown = np.full(256, IGNORED, np.uint8)
        ids = [i for i in look.classes if i < IGNORED]
        shown[ids] = ids
        return replace(result, found=SemanticMap(found.frame_size, shown[found.labels]))
    kept = found.scores >= look.conf
    if look.classes is not None:
        kept &= np.isin(found.class_ids, list(look.classes))
    trails = tuple(trail for trail, is_kept in zip(result.trails, kept, strict=False) if is_kept)
    return replace(result, found=found[kept], trails=trails)


def scaled(result: Result, width: int | None) -> Result:
    """Return the result on a smaller frame: what is drawn then is as sharp as on the whole one, and costs less."""
    frame = scaled_frame(result.frame, width)
    if frame is result.frame:
        return result
    size = frame.height, frame.width
    ratio = np.array([frame.width / result.frame.width, frame.height / result.frame.height], np.float32)
    if isinstance(result.found, SemanticMap):
        found: Instances | SemanticMap = SemanticMap(size, result.found.labels)
    else:
        found = _scaled_instances(result.found, size)
    return replace(
        result,
        frame=frame,
        found=found,
        trails=tuple(trail * ratio for trail in result.trails),
        zones=tuple(replace(zone, points=zone.points * ratio) for zone in result.zones),
    )


def scaled_frame(frame: Frame, width: int | None) -> Frame:
    """Return the frame at a smaller width, which becomes even, with its own proportions; itself if it is no wider."""
    frame.require_planes()
    if width is None or width >= frame.width:
        return frame
    size = (width // 2 * 2, max(2, round(frame.height * width / frame.width) // 2 * 2))
    sizes = [size] if frame.pixel_format == "rgb24" else [size, *[(size[0] // 2, size[1] // 2)] * 2]
    return replace(frame, planes=tuple(_resized(plane, to) for plane, to in zip(frame.planes, sizes, strict=True)))


def _scaled_instances(found: Instances, size: tuple[int, int]) -> Instances:
    """Return the instances on a frame of this height and width: their soft masks are on a grid of their own."""
    down, along = size[0] / found.frame_size[0], size[1] / found.frame_size[1]
    step = (found.masks.step[0] / down, found.masks.step[1] / along)
    boxes = found.boxes * np.array([along, down] * 2, np.float32)
    boxes[:, :2], boxes[:, 2:] = np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])
    return replace(found, frame_size=size, boxes=boxes, masks=replace(found.masks, step=step))


def _resized(plane: UInt8, size: tuple[int, int]) -> UInt8:
    """Return a plane at a smaller width and height: halved by means, which OpenCV is quick at, and interpolated then.

    For 1080p at 1280, 640 and 320 that takes 0.6, 0.2 and 0.2 ms where means of any size take 2.9, 0.8 and 0.6 ms.
    """
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return plane if plane.shape[1::-1] == size else cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
