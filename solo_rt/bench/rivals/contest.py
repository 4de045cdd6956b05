"""All rivals in one run, lap by lap in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

from solo_rt.bench.laps import Pace, summarise, take_laps
from solo_rt.bench.load import LoadWatch
from solo_rt.bench.rivals import OURS, RIVALS, Task
from solo_rt.bench.rivals.process import Process
from solo_rt.errors import EngineError
from solo_rt.progress import Show


def contest(
    names: Sequence[str],
    task: Task,
    pace: Pace,
    stop: threading.Event,
    on_step: Show,
) -> dict[str, Any]:
    """Return the figures of solo-rt and the rivals, why those `absent` have none, and what made them unreliable.

    What `stop` cuts off is missing.
    """
    watch = LoadWatch(rested=False)
    absent: dict[str, str] = {}
    opened: dict[str, Process] = {}
    with ExitStack() as stack:
        for number, name in enumerate([OURS, *names]):
            on_step(number, 1 + len(names), f"opening {name}")
            try:
                opened[name] = stack.enter_context(closing(Process(name, task, stop, seconds=pace.seconds)))
            except EngineError as error:
                absent[name] = str(error)
            except KeyboardInterrupt:
                return {"against": {}, "absent": absent, "unreliable": []}
        most, done = pace.most * len(opened), count()
        laps, failed = take_laps(
            {name: process.lap for name, process in opened.items()},
            pace,
            stop,
            lambda name, number: on_step(next(done), most, f"lap {number}, {name}"),
        )
        _, doubts = watch.finish([process.number for process in opened.values()])
    figures = {name: {"what": RIVALS[name].note, **summarise(taken)} for name, taken in laps.items() if taken}
    doubts = [f"against others: {doubt}" for doubt in doubts]
    return {"against": figures, "absent": {**absent, **failed}, "unreliable": doubts}
