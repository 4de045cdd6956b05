"""Objects as results of COCO: what pycocotools loads and measures."""

from __future__ import annotations

import json
from pathlib import Path

from solo_rt.errors import SinkError, UsageError
from solo_rt.sink.base import Gap, OutputFile, Sink
from solo_rt.types import Frame, Result

END = b"\n]\n"


class CocoSink(Sink):
    """`coco:out.json`: a list of `{image_id, category_id, segmentation, score, bbox}`. `close`: see `Sink`.

    `image_id` is the number that a picture is called by, as COCO's are, or else the index of the frame; `category_id`
    is the class id + 1; `bbox` is left, top, width, height in pixels. The list is ended behind every result and the
    next one goes over that end: it is whole whenever somebody reads it.
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

    def write(self, result: Result) -> None:
        """Add the objects of one result. Raises: SinkError when the output failed."""
        self._add([json.dumps(entry, separators=(",", ":")).encode() for entry in _entries(result)])
        self._file.written += 1

    def resume(self, gap: Gap) -> None:
        """Go on behind the last result, in a new list where the file is gone. Raises: SinkError."""
        try:
            if self._file.resume(self._filled):
                self._filled = 0
        except OSError as error:
            raise SinkError(f"output {self.uri}: {error.strerror}") from error
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


def image_id(frame: Frame) -> int:
    """Return the number that a picture is called by, or the index of the frame."""
    stem = Path(frame.name).stem
    return int(stem) if stem.isascii() and stem.isdigit() else frame.index


def _entries(result: Result) -> list[dict[str, object]]:
    found = result.instances
    return [
        {
            "image_id": image_id(result.frame),
            "category_id": int(class_id) + 1,
            "segmentation": rle,
            "score": round(float(score), 5),
            "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
        }
        for class_id, score, (x0, y0, x1, y1), rle in zip(
            found.class_ids, found.scores, found.boxes, found.rles(), strict=True
        )
    ]
