"""Track ids of ranges made those of the whole video, by what both have of their overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pycocotools import mask

Objects = Sequence[Mapping[str, Any]]  # of one frame, as in a line of JSON: with a track_id, and masks as RLE
_LEAST_OVERLAP = 0.5  # intersection over union of masks of one object in one frame


class Stitching:
    """Gives every track of every range an id that no other has, from 1 on; one that goes on keeps it."""

    def __init__(self) -> None:
        self.instances = 0  # of all frames that were kept
        self._given = 0
        self._ids: dict[int, int] = {}  # of the range's tracks
        # Id and mask of the objects of the last frames, by time stamp.
        self._seen: dict[int, list[tuple[int, Any]]] = {}

    def begin(self, lead: Mapping[int, Objects]) -> None:
        """Begin a range by what it has of the frames before it, by their time stamps."""
        shared: dict[tuple[int, int], float] = defaultdict(float)
        for pts in lead.keys() & self._seen.keys():
            ids, masks = zip(*self._seen[pts], strict=True) if self._seen[pts] else ((), ())
            objects = lead[pts]
            if not ids or not objects:
                continue
            overlaps = mask.iou([one["rle"] for one in objects], list(masks), [0] * len(masks))
            for one, row in zip(objects, overlaps.tolist(), strict=True):
                for number, overlap in zip(ids, row, strict=True):
                    if overlap >= _LEAST_OVERLAP:
                        shared[one["track_id"], number] += overlap
        self._ids = {}
        for new, old in sorted(shared, key=lambda pair: (-shared[pair], pair)):
            if new not in self._ids and old not in self._ids.values():
                self._ids[new] = old
        self._seen = {}

    def id_of(self, track: int) -> int:
        """Return the id of a track of the range."""
        if track not in self._ids:
            self._given += 1
            self._ids[track] = self._given
        return self._ids[track]

    def keep(self, pts: int, objects: Objects, *, since: int) -> None:
        """Keep a frame's objects, whose ids are those of the video, for the next range; forget what is older."""
        self.instances += len(objects)
        self._seen[pts] = [(one["track_id"], one["rle"]) for one in objects]
        while min(self._seen) < since:
            del self._seen[min(self._seen)]
