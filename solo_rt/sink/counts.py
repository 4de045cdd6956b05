"""How many objects of each class are in each frame, or how much of it each class takes, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.lines import LineFile, csv_row


class CountSink(Sink):
    """`out.csv`: frame, time in seconds, then a column per class. `close`: see `Sink`.

    It holds the number of objects, or with a semantic model the share of the frame's pixels.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, classes: Sequence[str]) -> None:
        """Open the file. Raises: as `OutputFile`."""
        self.uri = uri
        self._classes = len(classes)
        self._lines = LineFile(uri, csv_row(["frame", "time_s", *classes]))

    def write(self, result: Result) -> None:
        """Add the row of one result. Raises: SinkError when the output failed."""
        semantic = result.semantic
        counts: Iterable[object]
        if semantic is None:
            counts = np.bincount(result.instances.class_ids, minlength=self._classes).tolist()
        else:
            shares = semantic.shares()
            counts = (round(shares.get(i, 0.0), 6) for i in range(self._classes))
        self._lines.write(csv_row([result.frame.index, round(result.frame.time_s, 6), *counts]))
        self._lines.results += 1

    def resume(self, gap: Gap) -> None:
        """Go on; the frames of a gap have no row. Raises: SinkError."""
        self._lines.resume()

    def close(self) -> None:
        self._lines.close()
