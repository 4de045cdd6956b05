"""Objects cut out of their frames, one picture each."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from solo_rt.errors import SinkError
from solo_rt.result import Result
from solo_rt.sink.address import split
from solo_rt.sink.base import Sink
from solo_rt.sink.pictures import FORMATS, FrameFiles
from solo_rt.types import UInt8


class CropSink(Sink):
    """`crops:folder`: PNG files of the size of an object's box, opaque on its mask only. `close`: see `Sink`.

    They are called by frame, place among its objects, best first, class, and track if they have one:
    `000042_00_cat.png`, `000042_00_cat_7.png`.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, overwrite: bool) -> None:
        """Create the folder if there is none. Raises: as `FrameFiles`."""
        self.uri = uri
        self._files = FrameFiles(uri, Path(split(uri)[1]), ".png", overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Add the objects of one result. Raises: SinkError when the output failed, or for a frame on a GPU."""
        found = result.instances
        if not len(found):
            return
        if result.frame.device is not None:
            raise SinkError(f"output {self.uri}: expected frames in host memory, got them on a GPU; use --decoder cpu")
        rgb = result.frame.rgb()
        for i in range(len(found)):
            name = re.sub(r"[^\w.-]+", "-", result.classes[found.class_ids[i]])
            track = "" if found.track_ids is None else f"_{found.track_ids[i]}"
            x0, y0 = np.floor(found.boxes[i, :2]).astype(int)
            x1, y1 = np.ceil(found.boxes[i, 2:]).astype(int)
            box = np.s_[max(0, y0) : max(1, y1), max(0, x0) : max(1, x1)]
            picture = cut_out(rgb[box], found.dense(i)[box].view(np.uint8) * 255)
            self._files.write(result.frame, partial(_encode, picture), part=f"_{i:02d}_{name}{track}")

    def close(self) -> None:
        pass


def cut_out(rgb: UInt8, alpha: UInt8) -> UInt8:
    """Return `uint8 [h, w, 4]` BGRA, as OpenCV writes it, from `[h, w, 3]` RGB and `[h, w]`."""
    return np.dstack([rgb[..., ::-1], alpha])


def _encode(picture: UInt8) -> bytes:
    return cv2.imencode(".png", picture, FORMATS[".png"])[1].tobytes()
