"""The loop that everybody writes with OpenCV: read a frame, draw on it, write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.bench.rivals import Play, Played, Task
from solo_rt.decoders import SoloV2Decoder
from solo_rt.errors import UsageError
from solo_rt.spec import ModelSpec

UInt8 = NDArray[np.uint8]
Annotate = Callable[[UInt8], tuple[UInt8, int]]  # a frame [H, W, 3] BGR: drawn on, and how many objects there are


def play_with(task: Task, annotate: Annotate) -> Play:
    """Return what plays the task in a loop."""

    def play(frames: int) -> Played:
        capture = cv2.VideoCapture(task.clip)
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        output = str(Path(task.folder) / "out.mp4")
        writer = cv2.VideoWriter(output, cv2.VideoWriter.fourcc(*"mp4v"), task.frame_rate, size)
        count = objects = 0
        while count < frames:
            ok, frame = capture.read()
            if not ok:
                break
            drawn, found = annotate(np.asarray(frame, np.uint8))
            writer.write(drawn)
            count, objects = count + 1, objects + found
        capture.release()
        writer.release()
        return Played(count, objects)

    return play


def draw_label(frame: UInt8, box: Any, text: str, colour: tuple[int, int, int]) -> None:
    """Draw a box, xyxy in pixels, and a text above it."""
    x0, y0, x1, y1 = (int(side) for side in box)
    cv2.rectangle(frame, (x0, y0), (x1, y1), colour, 2)
    cv2.putText(frame, text, (x0, max(12, y0 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)


def require_solov2(spec: ModelSpec) -> SoloV2Decoder:
    """Return the decoder of a SOLOv2 model, the only one whose post-processing these loops have. Raises: UsageError."""
    if not isinstance(spec.decoder, SoloV2Decoder):
        raise UsageError(f"expected a SOLOv2 model, got {spec.name} with decoder {spec.decoder.kind}")
    return spec.decoder
