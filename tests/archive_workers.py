"""Workers of an archive, as who kills them sees them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from solo_rt.cluster import ArchiveProgress


def busy(results: Path) -> list[int]:
    """Return the processes that have written something of a video that is not done."""
    return [int(path.name.split("-")[0]) for path in (results / ".parts").glob("*/*") if path.stat().st_size]


def kill_one(results: Path) -> Callable[[ArchiveProgress], None]:
    """Return what kills one worker, once it has written something."""
    killed = []

    def watch(_progress: ArchiveProgress) -> None:
        if not killed and (found := busy(results)):
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    return watch
