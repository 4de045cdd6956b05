"""Results as a table in Parquet, for those who count and join them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from solo_rt.errors import UsageError
from solo_rt.result import Result
from solo_rt.sink.base import Sink
from solo_rt.sink.output_file import OutputFile

FLUSH_SECONDS = 5.0  # of rows in memory
MOST_ROWS = 50_000  # in memory

_FRAME = {
    "frame": "int64", "pts": "int64", "time_s": "float64", "name": "string", "class_id": "int32", "class": "string",
}  # fmt: skip
_OBJECT = {
    "score": "float32", "x0": "float32", "y0": "float32", "x1": "float32", "y1": "float32", "track_id": "int32",
    "height": "int32", "width": "int32", "rle": "string",
}  # fmt: skip
_SHARE = {"share": "float64"}


class ParquetSink(Sink):
    """`out.parquet`: a row per object, or with a semantic model per class of a frame. `write`: see `Sink`.

    Rows go to the disk every few seconds, but Parquet is read from its end, which `close` writes: of a killed run
    nothing can be read. A frame without objects has no row.
    """

    needs_picture = False

    def __init__(self, uri: str, *, is_semantic: bool) -> None:
        """Open the file. Raises: as `OutputFile`; UsageError for a pipe, or without pyarrow."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UsageError(f"output {uri}: Parquet needs pyarrow; pip install 'solo-rt[parquet]'") from error
        self.uri = uri
        self._arrow, self._is_semantic = pyarrow, is_semantic
        columns = {**_FRAME, **(_SHARE if is_semantic else _OBJECT)}
        self._schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
        self._file = OutputFile(uri)
        self._stream = self._file.stream()
        self._writer: Any = None  # from the first result on
        self._rows: list[dict[str, object]] = []
        self._flush_at = 0.0

    def write(self, result: Result) -> None:
        self._rows += self._rows_of(result)
        with self._file.writing():
            if self._writer is None:
                self._writer = self._arrow.parquet.ParquetWriter(self._stream, self._schema, compression="zstd")
                self._flush_at = time.monotonic() + FLUSH_SECONDS
            if time.monotonic() >= self._flush_at or len(self._rows) >= MOST_ROWS:
                self._flush()
        self._file.written += 1

    def close(self) -> None:
        writer, self._writer = self._writer, None
        try:
            if writer is not None and not self._file.failed:
                with self._file.writing():
                    self._writer = writer
                    self._flush()
                    writer.close()
                    self._stream.flush()
        finally:
            self._writer = None
            if writer is not None:
                writer.is_open = False  # else it would write its end when it is collected, behind what failed
            with suppress(OSError):  # of a failed write, which has been reported
                self._stream.close()
            self._file.close()

    def _flush(self) -> None:
        """Write the rows as a group of their own."""
        rows, self._rows = self._rows, []
        if rows:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, self._schema))
            self._stream.flush()
        self._flush_at = time.monotonic() + FLUSH_SECONDS

    def _rows_of(self, result: Result) -> list[dict[str, object]]:
        frame, record = result.frame, result.to_record()
        name = frame.name.encode("utf-8", "backslashreplace").decode()  # as JSON lines spell one that is no UTF-8
        common = {"frame": frame.index, "pts": frame.pts, "time_s": frame.time_s, "name": name or None}
        if self._is_semantic:
            return [{**common, **entry} for entry in record["classes"]]  # type: ignore[attr-defined]
        height, width = result.instances.frame_size
        rows = []
        for entry in record["instances"]:  # type: ignore[attr-defined]
            box = dict(zip(("x0", "y0", "x1", "y1"), entry.pop("box"), strict=True))
            rows.append({**common, **entry, **box, "rle": entry["rle"]["counts"], "height": height, "width": width})
        return rows
