"""Published data sets on disk: downloaded, checked, unpacked once. Needs neither torch nor anything but Python."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from solo_rt.errors import DatasetError
from solo_rt.progress import Show
from solo_rt.train.data.download.sources import SOURCES, Archive, find_source
from solo_rt.train.data.download.transfer import Patience, fetch
from solo_rt.train.data.download.unpack import unpack

__all__ = ["SOURCES", "Count", "count_files", "download"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many files there are of a pattern."""

    pattern: str
    expected: int
    found: int


def download(
    name: str,
    root: Path,
    *,
    keep: bool = False,
    patience: Patience | None = None,
    show: Show = lambda done, total, text: None,
) -> Path:
    """Return the folder of data set `name` below `root`, with all its archives unpacked.

    What was unpacked before is left alone, as its stamp says. Archives are deleted afterwards unless `keep`, except for
    those that the user brought. Raises: UsageError for an unknown name; DatasetError when an archive cannot be had, or
    the user must bring it first.
    """
    source = find_source(name)
    folder = root / source.folder
    missing = [a.name for a in source.archives if not a.urls and not _stamped(folder, a) and not _brought(folder, a)]
    if missing or not source.archives:
        if all(count.found >= count.expected for count in count_files(name, root)):
            return folder  # unpacked by the user
        files = f"put {' and '.join(missing)}" if missing else "put them"
        raise DatasetError(
            f"{name} must be fetched by hand: {source.instructions}, {files} into {folder}, and run this again"
        )
    new = [archive for archive in source.archives if not _stamped(folder, archive)]
    for archive in new:
        _install(archive, folder, keep=keep, patience=patience, show=show)
    short = None if new else next((count for count in count_files(name, root) if count.found < count.expected), None)
    if short is not None:
        stamps = " and ".join(_stamp(folder, archive).name for archive in source.archives)
        raise DatasetError(
            f"{name}: {short.found} of {short.expected} files {short.pattern} are in {folder}, though its archives "
            f"were unpacked there; to get them again, delete {stamps}"
        )
    return folder


def count_files(name: str, root: Path) -> list[Count]:
    """Return how many files of data set `name` there are below `root`. Raises: UsageError for an unknown name."""
    source = find_source(name)
    folder = root / source.folder
    return [Count(pattern, expected, sum(1 for _ in folder.glob(pattern))) for pattern, expected in source.counts]


def _install(archive: Archive, folder: Path, *, keep: bool, patience: Patience | None, show: Show) -> None:
    """Download, unpack and stamp one archive."""

    def on_bytes(done: int, total: int) -> None:
        show(done // 10**6, total // 10**6, f"MB of {archive.name}")

    path, digest = fetch(archive, folder, patience=patience, on_bytes=on_bytes)
    files = unpack(path, folder, on_files=lambda done, total: show(done, total, f"files of {archive.name}"))
    _stamp(folder, archive).write_text(json.dumps({"archive": archive.name, "hash": digest, "files": files}))
    if archive.urls and not keep:
        path.unlink()


def _stamp(folder: Path, archive: Archive) -> Path:
    return folder / f".{archive.name}.json"


def _stamped(folder: Path, archive: Archive) -> bool:
    """Return whether the archive was unpacked before, and was the one that the table asks for."""
    try:
        digest = json.loads(_stamp(folder, archive).read_text())["hash"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    expected = archive.sha256 or archive.sha1
    return expected is None or str(digest).endswith(f":{expected}")


def _brought(folder: Path, archive: Archive) -> bool:
    return (folder / archive.name).exists()
