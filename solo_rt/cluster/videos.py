"""The videos of an archive: those of a folder, those that match a pattern, or a single one."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from solo_rt.errors import SourceError, UsageError
from solo_rt.source.pictures import is_picture
from solo_rt.uri import expand_home, redact, scheme

# Of what is taken for a video in a folder; a pattern may name others.
SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
)  # fmt: skip
WILD = "*?["
ANY = "**"  # part of a pattern: folders at any depth
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Video:
    """A file, and what tells whether it has changed."""

    name: str  # its path inside the archive
    path: Path
    bytes: int
    mtime_ns: int


def find_videos(sources: Sequence[str], *, output_dir: Path) -> list[Video]:
    """Return the videos of folders, patterns and files, largest first, so that no worker is left with a long one.

    Their names begin behind the folder, or behind what of a pattern holds no wildcard. Folders that are links are
    followed. Hidden files, those in hidden folders and what lies in `output_dir` are passed over, and with a pattern so
    are pictures; folders that cannot be read and links that lead nowhere are, too, with a warning.
    Raises: SourceError where there is none; UsageError for an address, for two of one name, and where `output_dir`
    holds the archive.
    """
    found: dict[str, Video] = {}
    for source in sources:
        try:
            videos = list(_videos_of(source, output_dir.resolve()))
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"source {source}: {error.strerror}; check the path and its permissions") from error
        if not videos:
            raise SourceError(f"source {source}: no video; expected files like {' '.join(SUFFIXES[1:8:2])}")
        for video in videos:
            other = found.setdefault(video.name, video)
            if not other.path.samefile(video.path):
                raise UsageError(f"{other.path} and {video.path} are both called {video.name}; work them off apart")
    return sorted(found.values(), key=lambda video: (-video.bytes, video.name))


def _videos_of(source: str, output_dir: Path) -> Iterator[Video]:
    if scheme(source) or source in ("", "-"):
        raise UsageError(f"source {redact(source)}: expected files, a folder or a pattern of an archive")
    path = Path(expand_home(source))
    paths: Iterable[Path]
    if path.is_dir():
        root, paths = path, (entry for entry in _matching(path, {(ANY, "*")}) if entry.suffix.lower() in SUFFIXES)
    elif path.exists():
        root, paths = path.parent, [path]
    elif set(source) & set(WILD):
        depth = next(number for number, part in enumerate(path.parts) if set(part) & set(WILD))
        root, pattern = Path(*path.parts[:depth]), path.parts[depth:]
        paths = (entry for entry in _matching(root, {pattern}) if not is_picture(entry))
    else:
        raise SourceError(f"source {source}: no such file or folder; check the path")
    base = root.resolve()
    if output_dir == base or output_dir in base.parents:
        raise UsageError(f"{output_dir}: it holds the archive itself; choose another folder for the results")
    for entry in paths:
        if output_dir not in entry.resolve().parents and entry.is_file():
            status = entry.stat()
            yield Video(entry.relative_to(root).as_posix(), entry, status.st_size, status.st_mtime_ns)


def _matching(folder: Path, patterns: Set[tuple[str, ...]], around: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield what in a folder has a path like one of the patterns and is not hidden, once each.

    Not `Path.glob`, which follows no links and says nothing of folders that it cannot read. `around` are the folders
    that this one lies in, as links lead there: one that leads back is not followed.
    """
    place = folder.resolve()
    if place in around:
        return
    anywhere = {pattern for pattern in patterns if pattern[0] == ANY}
    here = set(patterns)
    while any(pattern[0] == ANY for pattern in here):
        here = {pattern[1:] or ("*",) if pattern[0] == ANY else pattern for pattern in here}
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except PermissionError as error:
        log.warning("%s: %s; what lies in it is left out", folder, error.strerror)
        return
    for entry in entries:
        left = {pattern[1:] for pattern in here if fnmatchcase(entry.name, pattern[0])}
        inside = (left - {()}) | anywhere
        if not (left or inside):
            continue
        path = folder / entry.name
        try:
            is_folder = stat.S_ISDIR(entry.stat().st_mode) if entry.is_symlink() else entry.is_dir()
        except OSError as error:
            log.warning("%s: %s; it is left out", path, error.strerror)
            continue
        if () in left:
            yield path
        if inside and is_folder:
            yield from _matching(path, inside, around | {place})
