"""Objects as results of MOTS, multi-object tracking and segmentation, in its text format."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from solo_rt.errors import SinkError
from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.lines import LineFile
from solo_rt.types import Instances


class MotsSink(Sink):
    """`mots:out.txt`: a line per object, `frame id class height width rle`. `close`: see `Sink`.

    `frame` is the index of the frame, `id` the track, `class` the class id + 1. In MOTS a pixel belongs to one object:
    where masks overlap that is the one with the best score, and an object of which nothing is left has no line.
    Source: the format of KITTI MOTS (Voigtlaender et al. 2019).
    """

    needs_picture = False

    def __init__(self, uri: str) -> None:
        """Open the file. Raises: as `OutputFile`."""
        self.uri = uri
        self.can_resume = True
        self._lines = LineFile(uri.partition(":")[2])

    def write(self, result: Result) -> None:
        """Add the objects of one result. Raises: SinkError when the output failed, or when they have no tracks."""
        found = result.instances
        try:
            tracks = require_tracks(self.uri, found)
        except SinkError:
            self.can_resume = False
            raise
        height, width = found.frame_size
        lines = [
            f"{result.frame.index} {track} {class_id + 1} {height} {width} {rle}\n"
            for track, class_id, rle in zip(tracks, found.class_ids, exclusive_rles(found), strict=True)
            if rle
        ]
        self._lines.write("".join(lines).encode())
        self._lines.results += 1

    def resume(self, gap: Gap) -> None:
        """Go on; the frames of a gap have no lines. Raises: SinkError."""
        self._lines.resume()

    def close(self) -> None:
        self._lines.close()


def require_tracks(uri: str, found: Instances) -> list[int]:
    """Return the track of each object. Raises: SinkError where they have none."""
    if found.track_ids is None and len(found):
        raise SinkError(f"output {uri}: expected objects with tracks, got them without; add --track")
    return [] if found.track_ids is None else found.track_ids.tolist()


def exclusive_rles(found: Instances) -> list[str]:
    """Return the masks as run-length codes, each without the pixels of those before it; empty for none left."""
    taken = np.zeros(found.frame_size, np.bool_)
    codes = []
    for i in range(len(found)):
        mask = found.dense(i) & ~taken
        taken |= mask
        code = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))["counts"].decode() if mask.any() else ""
        codes.append(code)
    return codes
