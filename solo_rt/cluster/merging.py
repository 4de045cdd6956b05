"""JSON lines of ranges put together to those of the whole video, byte for byte where no tracks are stitched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from solo_rt.cluster.stitching import Stitching
from solo_rt.cluster.worker import OVERLAP_SECONDS
from solo_rt.sink.records import line_of, line_of_end

_FRAME = b'{"frame":'


@dataclass(frozen=True, slots=True)
class Piece:
    """What there is of a range."""

    path: Path
    read: int  # frames of the source, those before the range included
    lead: int  # those before the range


def merge(pieces: Sequence[Piece], path: Path, *, tracked: bool) -> tuple[int, int]:
    """Write the JSON lines of a video from those of its ranges; return how many results and tracked instances it has.

    Frames get the numbers that they have in the video; of those that two ranges have, the first one's are taken. With
    `tracked` ids become those of the video. Raises: OSError; ValueError for what is no such file.
    """
    results = before = 0  # frames of the video before the range
    stitching = Stitching() if tracked else None
    with path.open("wb") as file:
        for number, piece in enumerate(pieces):
            with piece.path.open("rb") as lines:
                header = next(lines)
                if number == 0:
                    file.write(header)
                records = _numbered(lines, by=before - piece.lead)
                if stitching is not None:
                    records = _stitched(records, stitching, before)
                for frame, record in records:
                    if frame >= before:
                        file.write(record)
                        results += 1
            before += piece.read - piece.lead
        file.write(line_of_end(results))
    return results, 0 if stitching is None else stitching.instances


def _numbered(lines: Iterator[bytes], *, by: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of frames with the numbers that they get. Raises: ValueError where the end is missing."""
    for one, after in pairwise(chain(lines, [b""])):
        if not after:
            if "end" not in json.loads(one):
                raise ValueError("a range has no end")
            return
        if not one.startswith(_FRAME):
            raise ValueError(f"expected a frame, got {one[:40]!r}")
        number, comma, rest = one[len(_FRAME) :].partition(b",")
        yield int(number) + by, b"%s%d%s%s" % (_FRAME, int(number) + by, comma, rest)


def _stitched(records: Iterator[tuple[int, bytes]], stitching: Stitching, first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines from the frame `first` on, with ids of the video."""
    lead: dict[int, Any] = {}
    is_begun = False
    for frame, one in records:
        record = json.loads(one)
        if frame < first:
            lead[record["pts"]] = record["instances"]
            continue
        if not is_begun:
            stitching.begin(lead)
            is_begun = True
        for found in record["instances"]:
            found["track_id"] = stitching.id_of(found["track_id"])
        numerator, denominator = record["time_base"]
        since = record["pts"] - round(2 * OVERLAP_SECONDS * denominator / numerator)
        stitching.keep(record["pts"], record["instances"], since=since)
        yield frame, line_of(record)
