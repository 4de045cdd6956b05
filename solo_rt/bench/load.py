"""What the machine had to do beside the measurement, and whether it was held down: then figures are not reliable."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from solo_rt.bench.nvml import Card
from solo_rt.cpu import usable_cores

MOST_OTHERS = 0.10  # of all cores' time, that other processes may take


class LoadWatch:
    """Watches the machine from its creation on; `root` is where /proc and /sys are.

    `rested`: nothing of ours ran just before, so that the load average is that of others.
    """

    def __init__(self, card: Card | None = None, root: Path = Path("/"), *, rested: bool = True) -> None:
        self._card, self._root, self._rested = card, root, rested
        self._before = self._averages()
        self._held_before = self._throttled()
        self._busy, self._own = self._busy_ticks(), self._own_ticks([])
        self._started = time.monotonic()

    def finish(self, children: Sequence[int] = ()) -> tuple[dict[str, object], list[str]]:
        """Return the load as JSON values, and what makes the figures unreliable, a sentence each.

        `children` are the numbers of processes of ours that still run.
        """
        cores = os.cpu_count() or 1
        seconds = max(1e-3, time.monotonic() - self._started)
        ticks = self._busy_ticks() - self._busy - (self._own_ticks(children) - self._own)
        others = max(0.0, ticks / os.sysconf("SC_CLK_TCK") / seconds / cores)
        load: dict[str, object] = {"before": self._before, "after": self._averages(), "others": round(others, 3)}
        reasons = []
        if self._rested and self._before and self._before[0] > usable_cores(self._root):
            reasons.append(
                f"the load average was {self._before[0]:.1f} when it began, on {usable_cores(self._root)} cores"
            )
        if others > MOST_OTHERS:
            reasons.append(f"other processes took {others:.0%} of the CPU")
        if self._throttled() > self._held_before:
            reasons.append("the CPU was throttled, too hot or short of power")
        held = self._card.held_down_by() if self._card is not None else []
        if held:
            reasons.append(f"the GPU was held down: {', '.join(held)}")
        return load, reasons

    def _averages(self) -> list[float]:
        with suppress(OSError, ValueError):
            return [float(word) for word in (self._root / "proc/loadavg").read_text().split()[:3]]
        return []

    def _busy_ticks(self) -> int:
        """Return the time that all cores have worked, or were not given to this machine by the one around it."""
        with suppress(OSError, ValueError, IndexError):
            user, nice, system, _idle, _wait, irq, soft, steal = map(
                int, (self._root / "proc/stat").read_text().split()[1:9]
            )
            return user + nice + system + irq + soft + steal
        return 0

    def _own_ticks(self, children: Sequence[int]) -> int:
        """Return the time of this process, of its children that have ended and of those that run."""
        return sum(map(self._ticks_of, ["self", *map(str, children)]))

    def _ticks_of(self, process: str) -> int:
        with suppress(OSError, ValueError, IndexError):
            fields = (self._root / "proc" / process / "stat").read_text().rpartition(")")[2].split()
            return sum(map(int, fields[11:15]))  # utime, stime and those of its children
        return 0

    def _throttled(self) -> int:
        found = 0
        for counter in (self._root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
            with suppress(OSError, ValueError):
                found += int(counter.read_text())
        return found
