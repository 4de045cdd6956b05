"""Pictures in a folder, one file per frame."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import cv2

from solo_rt.errors import UsageError
from solo_rt.files import replace_file
from solo_rt.result import Result
from solo_rt.sink.base import Sink, picture_of
from solo_rt.sink.output_file import write_failure
from solo_rt.types import Frame

FORMATS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 1],  # 6 is a fifth smaller and several times slower
}


class FrameFiles:
    """The files that a sink writes into a folder, one per frame.

    A frame that was a picture keeps its name, others are numbered: `000042.jpg`; a name that comes twice in one run,
    from two folders, gets the number as well. A file appears under its name only when it is complete.
    """

    def __init__(self, uri: str, folder: Path, suffix: str, *, overwrite: bool) -> None:
        """Create the folder if there is none.

        Raises: OSError; UsageError if it holds files of this suffix, which might be overwritten, unless `overwrite`.
        """
        self._uri, self._folder, self._suffix, self._overwrite = uri, folder, suffix, overwrite
        self._names: set[str] = set()  # of frames that had some: numbers are never the same
        self._written = 0
        self._folder.mkdir(exist_ok=True)
        if not os.access(self._folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not overwrite and any(self._folder.glob(f"[!.]*{suffix}")):
            raise UsageError(
                f"output {uri}: the folder {folder} holds {suffix} files already; choose another one, or overwrite"
            )

    def write(self, frame: Frame, encode: Callable[[], bytes], *, part: str = "") -> None:
        """Write what `encode` returns as the file of a frame, or of a `part` of it. Raises: SinkError."""
        name = f"{Path(frame.name).stem or f'{frame.index:06d}'}{part}"
        while name in self._names:
            name = f"{name}_{frame.index:06d}"
        path = self._folder / f"{name}{self._suffix}"
        try:
            if not self._overwrite and path.exists():
                raise FileExistsError(errno.EEXIST, f"{path.name} is somebody else's")
            replace_file(path, encode())
        except (OSError, cv2.error) as error:
            raise write_failure(self._uri, error, self._written) from error
        self._written += 1
        if frame.name:
            self._names.add(name)


class PictureSink(Sink):
    """`folder/` (JPEG), `folder/*.jpg` or `folder/*.png`: annotated pictures. `write`, `close`: see `Sink`."""

    needs_picture = True
    can_resume = True

    def __init__(self, uri: str, *, overwrite: bool) -> None:
        """Create the folder if there is none. Raises: as `FrameFiles`."""
        self.uri = uri
        folder, self._suffix = split(uri)
        self._files = FrameFiles(uri, folder, self._suffix, overwrite=overwrite)

    def write(self, result: Result) -> None:
        def encode() -> bytes:
            bgr = cv2.cvtColor(picture_of(result).rgb(), cv2.COLOR_RGB2BGR)
            return cv2.imencode(self._suffix, bgr, FORMATS[self._suffix])[1].tobytes()

        self._files.write(result.frame, encode)

    def close(self) -> None:
        pass


def split(uri: str) -> tuple[Path, str]:
    """Return the folder and the suffix of the pictures that `uri` asks for."""
    path = Path(uri)
    return (path.parent, path.suffix.lower()) if path.stem == "*" else (path, ".jpg")
