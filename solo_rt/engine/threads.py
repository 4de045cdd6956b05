"""How many threads inference gets, and how many frames they compute at once.

A lane is one call of `Engine.infer` under way. Threads of one lane wait for one another after every layer, lanes do
not: several may give more frames per second, but each frame takes longer. Never good for live sources, then.
"""

from __future__ import annotations

import re

from solo_rt.cpu import usable_cores

# Of a CPU, unless asked for. Two lanes take 2 to 6 % less CPU time for a frame of solov2-nano than one of two threads,
# but tests/bench/pipeline.py on two busy cores showed no more frames per second. Each holds the activations of a frame.
CPU_LANES = 1


def default_threads() -> int:
    """Return how many threads inference gets: all cores this process may use, less one for the other stages from 3 on.

    On two cores inference is nearly always what the run waits for, and it waits less with both.
    """
    cores = usable_cores()
    return cores - 1 if cores > 2 else cores


def describe(threads: int, lanes: int) -> str:
    """Return what of the CPU an engine uses, for people: "cpu, 4 threads, 2 lanes"."""
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}{f', {lanes} lanes' if lanes > 1 else ''}"


def without_threads(engine: str) -> str:
    """Return what `Engine.backend` says, without `describe`'s numbers, which no result depends on."""
    return re.sub(r", \d+ (thread|lane)s?", "", engine)
