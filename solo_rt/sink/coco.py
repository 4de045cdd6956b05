"""Objects as results of COCO: what pycocotools loads and measures."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from solo_rt.errors import UsageError
from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.output_file import OutputFile

END = b"\n]\n"
log = logging.getLogger(__name__)


class CocoSink(Sink):
    """`coco:out.json`: a list of `{image_id, category_id, segmentation, score, bbox}`, as `Result.to_coco` gives it.

    `close`: see `Sink`. The list is ended behind every result and the next one goes over that end: it is whole whenever
    somebody reads it.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str) -> None:
        """Open the file. Raises: as `OutputFile`; UsageError for what is no file."""
        self.uri = uri
        self._file = OutputFile(uri.partition(":")[2])
        if not self._file.is_regular:
            self._file.close()
            raise UsageError(f"output {uri}: expected a file, got a pipe or a device; a list needs to seek")
        self._filled = 0  # bytes in front of the end
        self._has_told = False  # that a number in a name is not the picture's

    def write(self, result: Result) -> None:
        """Add the objects of one result. Raises: SinkError when the output failed."""
        if not self._has_told and result.frame.image_id is None and Path(result.frame.name).stem.isdigit():
            self._has_told = True
            log.warning(
                "%s: image_id counts the pictures, of which not each is called by a number of its own", self.uri
            )
        self._add([json.dumps(entry, separators=(",", ":")).encode() for entry in result.to_coco()])
        self._file.written += 1

    def resume(self, gap: Gap) -> None:
        """Go on behind the last result, in a new list where the file is gone. Raises: SinkError."""
        if self._file.resume(self._filled):
            self._filled = 0
        self._add([])

    def close(self) -> None:
        self._file.close()

    def _add(self, entries: list[bytes]) -> None:
        data = b",\n".join(entries)
        if not self._filled:
            data = b"[\n" + data if entries else b"["
        elif entries:
            data = (b",\n" if self._filled > 1 else b"\n") + data
        with self._file.writing():
            self._file.rewind(self._filled)
            self._file.append(data + END)
        self._filled += len(data)
