"""How many threads inference gets, and how many frames they compute at once.

A lane is one call of `Engine.infer` under way. A network of small layers keeps few threads busy: they wait for one
another after every layer. Lanes do not wait for each other, so they give more frames per second, each of which takes
longer: right for files, wrong for live sources.
"""

from __future__ import annotations

import os

MOST_LANES = 4  # each holds the activations of a frame, which are hundreds of megabytes with large networks


def default_threads() -> int:
    """Return how many threads inference gets: all cores this process may use, less one for the other stages from 3 on.

    On two cores inference is nearly always what the run waits for, and it waits less with both.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores - 1 if cores > 2 else cores


def default_lanes(threads: int) -> int:
    """Return how many lanes give most frames per second on a CPU: one per thread, up to `MOST_LANES`."""
    return min(threads, MOST_LANES)


def describe(threads: int, lanes: int) -> str:
    """Return what of the CPU an engine uses, for people: "cpu, 4 threads, 2 lanes"."""
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}{f', {lanes} lanes' if lanes > 1 else ''}"
