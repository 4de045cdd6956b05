"""Shows how far a run is: one line that renews itself on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from solo_rt.commands.lines import FORMATTER, tell
from solo_rt.progress import Show

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from solo_rt.commands.interrupts import Interrupts
    from solo_rt.engine import Engine
    from solo_rt.pipeline import Hooks
    from solo_rt.pipeline.report import Progress
    from solo_rt.pipeline.timing import Percentiles
    from solo_rt.source import SourceInfo

LINE_SECONDS = 0.1  # between two refreshes of the line
LOG_SECONDS = 5.0  # between two log lines of a run
JOB_LOG_SECONDS = 10.0  # between two log lines of a training, a measurement or a build
RATE_SECONDS = 3.0  # the frame rate shown is that of the last seconds


class Reporter:
    """Takes `Progress` values and shows them on stderr; `quiet` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._interrupts: Interrupts | None = None
        self._of_each: dict[str, Progress] = {}  # of several sources
        self._doing = "starting"
        self._begun = self._told_interrupted = False
        self._quiet = quiet
        self._bar = _new_bar() if sys.stderr.isatty() and not FORMATTER.as_json and not quiet else None
        self._total: int | None = None
        self._is_live = False
        self._shown_at = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()  # seconds, processed

    def hooks(self, *, max_frames: int | None) -> Hooks:
        """Return what shows the run of one source."""
        from solo_rt.pipeline import Hooks

        return Hooks(
            on_start=lambda info, engine: self.begin(info, engine, max_frames=max_frames),
            on_progress=self,
            on_step=self.step,
        )

    def hooks_of(self, name: str, *, max_frames: int | None) -> Hooks:
        """Return what notes the run of one of several sources, on its own thread; `show_all` shows them."""
        from solo_rt.pipeline import Hooks

        return Hooks(
            on_start=lambda info, engine: self._begin_one(name, info, engine),
            on_progress=lambda progress: self._of_each.update({name: progress}),
        )

    def show_all(self) -> None:
        """Show the counts of all sources together if it is time to."""
        progresses = list(self._of_each.values())
        if not progresses:
            self._tell_interrupted()
            return
        slowest = max(progresses, key=lambda progress: progress.latency.p95)
        self(
            replace(
                slowest,
                read=sum(progress.read for progress in progresses),
                processed=sum(progress.processed for progress in progresses),
                dropped=sum(progress.dropped for progress in progresses),
                skipped=sum(progress.skipped for progress in progresses),
                failed=sum(progress.failed for progress in progresses),
                instances=sum(progress.instances or 0 for progress in progresses),
                seconds=max(progress.seconds for progress in progresses),
            )
        )

    def _begin_one(self, name: str, info: SourceInfo, engine: Engine) -> None:
        self._is_live |= info.live
        if not self._quiet:
            tell(f"{name}: {_describe(info)}" + ("" if self._begun else f"\n{engine.spec.name} on {engine.backend}"))
        self._begun = True
        if self._bar is not None and not self._bar.live.is_started:
            self._bar.start()

    def begin(self, info: SourceInfo, engine: Engine, *, max_frames: int | None) -> None:
        """Say what runs on what, and start the line."""
        self._begun = True
        self._is_live = info.live
        counts = [count for count in (info.frame_count, max_frames) if count]
        self._total = min(counts) if counts and not info.live else max_frames
        if self._quiet:
            return
        tell(_describe(info))
        tell(f"{engine.spec.name} on {engine.backend}")
        if self._bar is not None:
            self._bar.start()

    def __call__(self, progress: Progress) -> None:
        """Show the counts if it is time to."""
        now = time.monotonic()
        self._tell_interrupted()
        if self._quiet or now - self._shown_at < (LINE_SECONDS if self._bar is not None else LOG_SECONDS):
            return
        self._shown_at = now
        if self._total is not None and progress.processed > self._total:
            self._total = None  # it was an estimate, of a damaged file, say
        done = f"{progress.processed}{f'/{self._total}' if self._total else ''} frames"
        fps = self._rate(progress)
        rate = f"{fps:.1f} fps"
        latency = "latency {:.0f}/{:.0f} ms".format(*(1e3 * seconds for seconds in progress.latency))
        losses = f"{progress.dropped} dropped" if progress.dropped else ""
        more = ", ".join(filter(None, [latency if self._is_live else "", losses]))
        if self._bar is not None:
            completed = progress.processed + progress.skipped
            (task,) = self._bar.task_ids
            self._bar.update(
                task, completed=completed, total=self._total, done=done, rate=rate, more=more, refresh=True
            )
        else:
            found = f"{progress.instances} instances" if progress.instances is not None else ""
            tell(", ".join(filter(None, [done, rate, found, more])), fields=_figures(progress, fps))

    def step(self, doing: str) -> None:
        """Take what the run does now."""
        self._doing = doing

    def doing(self) -> str:
        """Return what the run does now, for one who waits for it."""
        return self._doing

    @contextmanager
    def watching(self, interrupts: Interrupts) -> Iterator[None]:
        """Say that a signal is being obeyed, and leave the terminal as it was."""
        self._interrupts = interrupts
        try:
            yield
        finally:
            self._tell_interrupted()
            if self._bar is not None and self._bar.live.is_started:
                self._bar.stop()

    def _tell_interrupted(self) -> None:
        is_interrupted = self._interrupts is not None and self._interrupts.stop.is_set()
        if self._begun and is_interrupted and not self._told_interrupted:
            self._told_interrupted = True
            self._say("finishing the outputs; once more to leave at once")

    def _say(self, text: str) -> None:
        if self._quiet:
            return
        if self._bar is not None and self._bar.live.is_started:
            self._bar.console.print(text, markup=False, highlight=False)  # above the line
        else:
            tell(text)

    def _rate(self, progress: Progress) -> float:
        self._recent.append((progress.seconds, progress.processed))
        while len(self._recent) > 2 and self._recent[0][0] < progress.seconds - RATE_SECONDS:
            self._recent.popleft()
        seconds, frames = self._recent[0] if len(self._recent) > 1 else (0.0, 0)
        return (progress.processed - frames) / max(progress.seconds - seconds, 1e-9)


def _new_bar() -> Bar:
    """Return the line of a run on a terminal; elsewhere nobody waits for what draws it to be loaded."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.fields[done]}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[more]}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )
    bar.add_task("", total=None, done="", rate="", more="")
    return bar


def _figures(progress: Progress, fps: float) -> dict[str, object]:
    """Return what programs get to know of a run under way; times in milliseconds."""
    stages = {name: _in_ms(percentiles) for name, percentiles in progress.stages.items()}
    return {
        "frames": progress.processed,
        "fps": round(fps, 2),
        "dropped": progress.dropped,
        "latency": _in_ms(progress.latency),
        "stages": stages,
    }


def _in_ms(percentiles: Percentiles) -> dict[str, float]:
    return {"p50_ms": round(1e3 * percentiles.p50, 3), "p95_ms": round(1e3 * percentiles.p95, 3)}


@contextmanager
def show_line() -> Iterator[Callable[[str, Mapping[str, object]], None]]:
    """Give a function that shows how something is that has no end: one line on a terminal, one now and then elsewhere.

    It takes what to say, and figures for programs.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    shown_at = -math.inf
    has_line = sys.stderr.isatty() and not FORMATTER.as_json
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) if has_line else nullcontext() as live:

        def show(text: str, figures: Mapping[str, object]) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if live is not None:
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            elif now >= shown_at + JOB_LOG_SECONDS:
                shown_at = now
                tell(text, fields=figures)

        yield show


@contextmanager
def show_progress() -> Iterator[Show]:
    """Give a function that shows progress on stderr: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    if FORMATTER.as_json or not sys.stderr.isatty():
        shown_at = time.monotonic()
        first: tuple[float, int] | None = None  # when we were first told, and how much was done by then

        def log(done: int, total: int, text: str) -> None:
            nonlocal shown_at, first
            now = time.monotonic()
            first = first or (now, done)
            if now - shown_at >= JOB_LOG_SECONDS:
                shown_at = now
                text = text.replace("\n", ", ")
                if done > first[1]:
                    left = (now - first[0]) / (done - first[1]) * (total - done)
                    text += f", {timedelta(seconds=round(left))} left"
                tell(f"{done}/{total} {text}", fields={"done": done, "total": total})

        yield log
        return
    columns = (
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _describe(info: SourceInfo) -> str:
    rate = f", {float(info.frame_rate):.4g} fps" if info.frame_rate else ""
    return f"{info.uri}: {info.width}x{info.height}{rate}{', live' if info.live else ''}"
