"""Archives on disk, without trust in what they say about paths."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from solo_rt.errors import DatasetError
from solo_rt.progress import OnProgress

Opener = Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, *, on_files: OnProgress = lambda done, total: None) -> int:
    """Unpack the regular files of a .zip, .tar or .tgz below `folder` and return how many there are.

    Every name is checked before anything is written. Links and devices are left out: no data set needs them, and a link
    can lead elsewhere. Files that exist are replaced. This is stricter than `tarfile`'s filter "data" and the same in
    every version of Python.
    Raises: DatasetError when a name leads out of the folder or the archive is damaged.
    """
    try:
        with _members(archive) as members:
            paths = [_inside(folder, name, archive) for name, _ in members]
            for done, (path, (_, opener)) in enumerate(zip(paths, members, strict=True), 1):
                path.parent.mkdir(parents=True, exist_ok=True)
                with opener() as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
                on_files(done, len(members))
            return len(members)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise DatasetError(f"cannot unpack {archive}: {reason}; delete it and download it again") from error


@contextmanager
def _members(archive: Path) -> Iterator[list[tuple[str, Opener]]]:
    """Give name and opener of each regular file."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            yield [
                (info.filename, lambda info=info: packed.open(info))  # type: ignore[misc]
                for info in packed.infolist()
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
            ]
    else:
        with tarfile.open(archive) as packed_tar:
            yield [
                (info.name, lambda info=info: packed_tar.extractfile(info))  # type: ignore[misc]
                for info in packed_tar
                if info.isreg()
            ]


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Return where a member goes. Raises: DatasetError unless that is below `folder`."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise DatasetError(f"{archive}: expected paths inside the archive, got {name!r}; do not trust this file")
    return folder.joinpath(*parts)
