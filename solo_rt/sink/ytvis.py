"""Objects as results of YouTube-VIS, video instance segmentation: a track is one entry."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from solo_rt.result import Result
from solo_rt.sink.base import OutputFile, Sink
from solo_rt.sink.mots import require_tracks


@dataclass(slots=True)
class _Track:
    scores: list[float] = field(default_factory=list)
    classes: dict[int, float] = field(default_factory=dict)  # class id to the sum of its scores
    masks: dict[int, dict[str, object]] = field(default_factory=dict)  # by number of the result


class YtvisSink(Sink):
    """`ytvis:out.json`: a list of `{video_id, category_id, score, segmentations}`. `write`: see `Sink`.

    `segmentations` has an entry per result, null where the track is not seen; `score` is the mean over those where it
    is, `category_id` the class id + 1 of the class with the largest sum of scores, `video_id` 1. Nothing is known of a
    track before it ends, so that all is kept and written by `close`: it is for clips.
    """

    needs_picture = False

    def __init__(self, uri: str) -> None:
        """Open the file. Raises: as `OutputFile`."""
        self.uri = uri
        self._file = OutputFile(uri.partition(":")[2])
        self._tracks: dict[int, _Track] = {}

    def write(self, result: Result) -> None:
        found = result.instances
        tracks = require_tracks(self.uri, found)
        for track, score, class_id, rle in zip(tracks, found.scores, found.class_ids, found.rles(), strict=True):
            entry = self._tracks.setdefault(track, _Track())
            entry.scores.append(float(score))
            entry.classes[int(class_id)] = entry.classes.get(int(class_id), 0.0) + float(score)
            entry.masks[self._file.written] = rle
        self._file.written += 1

    def close(self) -> None:
        """Write the list. Raises: SinkError."""
        try:
            if self._file.written and not self._file.is_closed:
                with self._file.writing():
                    self._file.append(json.dumps(self._entries(), separators=(",", ":")).encode())
        finally:
            self._file.close()

    def _entries(self) -> list[dict[str, object]]:
        return [
            {
                "video_id": 1,
                "category_id": max(track.classes, key=track.classes.__getitem__) + 1,
                "score": round(sum(track.scores) / len(track.scores), 5),
                "segmentations": [track.masks.get(number) for number in range(self._file.written)],
            }
            for _, track in sorted(self._tracks.items())
        ]
