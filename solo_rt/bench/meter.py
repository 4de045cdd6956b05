"""What a lap costs beside time: the most memory of this process, and the energy of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from solo_rt.bench.laps import Lap

Joules = Callable[[], float | None]  # that something has used since some moment; None where it does not say any more


def metered(
    runner: Callable[[float], Lap], counters: Sequence[Joules], *, with_memory: bool = True
) -> Callable[[float], Lap]:
    """Return the runner, whose laps know what the counters have counted, and their memory if that is wanted."""

    def run(seconds: float) -> Lap:
        reset_peak()
        before = [count() for count in counters]
        lap = runner(seconds)
        used = [None if a is None or b is None else b - a for a, b in zip(before, (c() for c in counters), strict=True)]
        known = [joules for joules in used if joules is not None]
        return replace(lap, peak_bytes=peak_bytes() if with_memory else None, joules=sum(known) if known else None)

    return run


def reset_peak() -> None:
    """Forget what memory this process had at most, where the kernel lets us: else that of the run so far counts."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Return the most memory that this process had, resident; None where there is no /proc."""
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
