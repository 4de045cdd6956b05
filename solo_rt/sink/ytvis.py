"""Objects as results of YouTube-VIS, video instance segmentation: a track is one entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from solo_rt.result import Result
from solo_rt.sink.base import Sink
from solo_rt.sink.mots import require_tracks
from solo_rt.sink.output_file import OutputFile


@dataclass(slots=True)
class _Track:
    scores: list[float] = field(default_factory=list)
    classes: dict[int, float] = field(default_factory=dict)  # class id to the sum of its scores
    masks: list[str] = field(default_factory=list)  # JSON, with null for every result without it
    results: int = 0  # that `masks` are of


class YtvisSink(Sink):
    """`ytvis:out.json`: a list of `{video_id, category_id, score, segmentations}`. `write`: see `Sink`.

    `segmentations` has an entry per result, null where the track is not seen; `score` is the mean over those where it
    is, `category_id` the class id + 1 of the class with the largest sum of scores, `video_id` 1. Nothing is known of a
    track before it ends, so that all is kept, as text, and written by `close`: it is for clips.
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
            missed = self._file.written - entry.results
            entry.masks += [*["null"] * missed, json.dumps(rle, separators=(",", ":"))]
            entry.results += missed + 1
        self._file.written += 1

    def close(self) -> None:
        """Write the list. Raises: SinkError."""
        try:
            if self._file.written and not self._file.is_closed:
                entries = f"[{','.join(self._entries())}]".encode()  # before what the file holds goes
                with self._file.writing():
                    self._file.append(entries)
        finally:
            self._file.close()

    def _entries(self) -> Iterator[str]:
        for _, track in sorted(self._tracks.items()):
            category_id = max(track.classes, key=track.classes.__getitem__) + 1
            score = round(sum(track.scores) / len(track.scores), 5)
            masks = ",".join([*track.masks, *["null"] * (self._file.written - track.results)])
            yield f'{{"video_id":1,"category_id":{category_id},"score":{score},"segmentations":[{masks}]}}'
