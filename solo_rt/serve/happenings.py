"""What has happened lately, for all who look: states of sources, and what zones and lines have told."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

MOST = 200  # that are kept


class Happenings:
    """The newest happenings, each with a number. Any thread may add or read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._kept: deque[Mapping[str, object]] = deque(maxlen=MOST)
        self._number = 0

    def add(self, source: str, record: Mapping[str, object]) -> None:
        """Keep one more, of a source."""
        with self._lock:
            self._number += 1
            self._kept.append({"number": self._number, "at": round(time.time(), 3), "source": source, **record})

    def since(self, number: int) -> list[Mapping[str, object]]:
        """Return those behind a number that are still kept, oldest first."""
        with self._lock:
            if number >= self._number:
                return []
            return [record for record in self._kept if int(str(record["number"])) > number]
