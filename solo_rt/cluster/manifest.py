"""What of an archive is done: a file in the folder of the results that lives through kills and power cuts."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from solo_rt.cluster.outputs import Written
from solo_rt.cluster.videos import Video
from solo_rt.errors import UsageError
from solo_rt.files import sync
from solo_rt.source.ranges import WHOLE, Range

FILE = "manifest.jsonl"
FORMAT = 2
HEAD = b'{"archive": %d' % FORMAT  # that every manifest begins with


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a video, or of a range of it."""

    video: str  # its name
    bytes: int  # with `mtime_ns`, of the video when it was begun
    mtime_ns: int
    outputs: tuple[Written, ...] = ()
    frames: int = 0
    instances: int | None = None
    engine: str = ""
    damage: str | None = None  # what the results lack
    error: str | None = None  # why there are none
    range: Range = WHOLE
    read: int = 0  # frames of the source, those before the range and those that failed included
    lead: int = 0  # those before the range

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Entry:
        """Return the entry of its line."""
        outputs = tuple(Written(**output) for output in record["outputs"])
        return replace(cls(**record), outputs=outputs, range=Range(**record["range"]))


class Manifest:
    """`manifest.jsonl`: a line of settings, then one for each video or range that is done; of two, the last one counts.

    A line is on the disk before `add` returns; a torn one, of a kill, is cut off. While it is open it is locked. A file
    of somebody else's in its place is left as it is.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        """Open or begin it. Raises: OSError; UsageError if another process has it, or it was begun for other settings.

        `settings` are all that the results depend on but the videos.
        """
        self._folder, self.path = folder, folder / FILE
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            read = self._read(json.loads(json.dumps(settings)))  # as they come back from a file
            self.engine = next((entry.engine for entry in reversed(read) if entry.error is None), "")  # of what is done
            self.entries = {entry.video: entry for entry in read if entry.range == WHOLE}
            self._ranges = {(entry.video, entry.range): entry for entry in read if entry.range != WHOLE}
        except BaseException:
            self.close()
            raise

    def has(self, video: Video) -> bool:
        """Return whether a video is done: it has not changed since, and its results are there."""
        return self._is_good(self.entries.get(video.name), video)

    def range_of(self, video: Video, part: Range) -> Entry | None:
        """Return what is known of a range of a video that is done, like `has`."""
        entry = self._ranges.get((video.name, part))
        return entry if self._is_good(entry, video) else None

    def _is_good(self, entry: Entry | None, video: Video) -> bool:
        if entry is None or entry.error is not None or (entry.bytes, entry.mtime_ns) != (video.bytes, video.mtime_ns):
            return False
        return all(_size(self._folder / output.path) == output.bytes for output in entry.outputs)

    def add(self, entry: Entry) -> None:
        """Note what became of a video or range. Raises: OSError."""
        self._append(asdict(entry))
        if entry.range == WHOLE:
            self.entries[entry.video] = entry
        else:
            self._ranges[entry.video, entry.range] = entry

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self._folder}: another run is at it; wait, or choose another folder") from error

    def _read(self, settings: dict[str, object]) -> list[Entry]:
        content = self.path.read_bytes()
        if not (content.startswith(HEAD) or HEAD.startswith(content)):
            raise UsageError(f"{self.path}: expected the manifest of an archive, got another file; move it away")
        whole = content[: content.rfind(b"\n") + 1]
        if whole.count(b"\n") < 2:  # nothing is done, so that there is nothing to contradict
            os.ftruncate(self._descriptor, 0)
            self._append({"archive": FORMAT, **settings})
            sync(self._folder)
            return []
        try:
            begun, *records = map(json.loads, whole.splitlines())
            del begun["archive"]
            entries = [Entry.from_record(record) for record in records]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.path}: expected the manifest of an archive, got {error}; move it away") from error
        os.ftruncate(self._descriptor, len(whole))
        others = [name for name in {**begun, **settings} if begun.get(name) != settings.get(name)]
        if others:
            changed = " and another ".join(others)
            raise UsageError(f"{self._folder}: its results were made with another {changed}; choose another folder")
        return entries

    def _append(self, record: Mapping[str, object]) -> None:
        line = memoryview(json.dumps(record).encode() + b"\n")
        while line:
            line = line[os.write(self._descriptor, line) :]
        os.fsync(self._descriptor)


def _size(path: Path) -> int:
    """Return the size of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
