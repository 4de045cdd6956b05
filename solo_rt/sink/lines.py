"""Text files that grow line by line and hold nothing torn."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from solo_rt.errors import SinkError
from solo_rt.sink.output_file import OutputFile


class LineFile:
    """Whole lines in a file of its own, the first of them written with the second.

    Every line reaches the operating system before `write` returns: a killed process leaves at most one torn line, the
    last; what a full disk tears goes away at once.
    """

    def __init__(self, uri: str, first: bytes = b"") -> None:
        """Open the file. Raises: as `OutputFile`."""
        self._uri, self._first = uri, first
        self._file = OutputFile(uri)
        self._whole = 0  # bytes of whole lines
        self.results = 0  # in the file; counted by the owner

    @property
    def is_begun(self) -> bool:
        """Whether it holds something and more can be added."""
        return bool(self._whole) and not self._file.failed and not self._file.is_closed

    def write(self, lines: bytes) -> None:
        """Add lines. Raises: SinkError."""
        self._file.written = self.results
        data = lines if self._whole else self._first + lines
        try:
            with self._file.writing():
                self._file.append(data)
        except SinkError:
            self._file.cut(self._whole)
            raise
        self._whole += len(data)

    def resume(self) -> None:
        """Go on behind the last whole line, in a new file where this one is gone. Raises: SinkError."""
        if self._file.resume(self._whole):
            self._whole = self.results = 0

    def close(self) -> None:
        """Let go of the file. May be called again."""
        self._file.close()


def csv_row(cells: Iterable[object]) -> bytes:
    """Return a line of a table; cells that are None are empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")
