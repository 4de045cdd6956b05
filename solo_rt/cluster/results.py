"""Results given their names once they are whole: those of a worker, and those put together from ranges."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from solo_rt.cluster.manifest import Entry
from solo_rt.cluster.merging import Piece, merge
from solo_rt.cluster.outputs import RANGES, places_of, result_path
from solo_rt.cluster.videos import Video
from solo_rt.cluster.worker import Job, Outcome, seal
from solo_rt.files import sync
from solo_rt.source.ranges import Range


def publish(job: Job, outcome: Outcome, folder: Path) -> None:
    """Give what a worker has written its names; what an earlier run had there goes. Raises: OSError."""
    whole = {one.path for one in outcome.written}
    for place in job.places:
        if place.path in whole:
            _move(place.part_path, folder / place.path)
        else:
            (folder / place.path).unlink(missing_ok=True)  # of a video that has changed


def entry_of(video: Video, part: Range, outcome: Outcome, engine: str) -> Entry:
    """Return what the manifest keeps of a job."""
    return Entry(
        video=video.name,
        bytes=video.bytes,
        mtime_ns=video.mtime_ns,
        outputs=outcome.written,
        frames=outcome.frames,
        instances=outcome.instances,
        engine=engine,
        damage=outcome.damage,
        error=outcome.error,
        range=part,
        read=outcome.read,
        lead=outcome.lead,
    )


def put_together(
    video: Video, entries: Sequence[Entry], outputs: Sequence[str], *, folder: Path, parts: Path, tracked: bool
) -> Entry:
    """Write the results of a video from those of its ranges, in order, and return what the manifest keeps of it.

    Raises: OSError; ValueError where a range is not what it should be.
    """
    written = []
    results = instances = 0
    for output, place in zip(outputs, places_of(outputs, video, parts=parts, worker="merged"), strict=True):
        pieces = [Piece(folder / result_path(output, video, entry.range), entry.read, entry.lead) for entry in entries]
        results, instances = merge(pieces, place.part_path, tracked=tracked)
        written.append(seal(place))
        _move(place.part_path, folder / place.path)
    counted = [entry.instances for entry in entries if entry.instances is not None]
    outcome = Outcome(
        written=tuple(written),
        frames=results,
        instances=instances if tracked else sum(counted) if counted else None,
        damage="; ".join(dict.fromkeys(entry.damage for entry in entries if entry.damage)) or None,
    )
    return entry_of(video, Range(), outcome, entries[0].engine)


def forget_ranges(video: Video, outputs: Sequence[str], folder: Path) -> None:
    """Remove what there is of the ranges of a video."""
    for output in outputs:
        path = folder / RANGES / result_path(output, video)
        shutil.rmtree(path, ignore_errors=True)


def _move(part: Path, path: Path) -> None:
    _make_folder(path.parent)
    part.replace(path)
    sync(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those around it, so that a power cut leaves them."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        sync(folder.parent)
