"""What the commands that make and measure models share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click

from solo_rt.commands.measured import check_recordable
from solo_rt.errors import UsageError

LOG_SECONDS = 10.0  # between two log lines where there is no terminal

Show = Callable[[int, int, str], None]  # steps done, of how many, and what to say, in lines that are joined in a log


def require_torch(command: str) -> None:
    """Raise UsageError where the training extra is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{command} needs {', '.join(missing)}; install them with pip install 'solo-rt[train]'")


def record_metrics(model: str, metrics: Mapping[str, float], *, names: Sequence[str]) -> None:
    """Write the metrics `names` into the model file they were measured on. Raises: UsageError."""
    check_recordable(Path(model))
    require_torch("eval --record")
    from solo_rt.engine.base import read_spec
    from solo_rt.train.export.onnx_file import record_metrics as write_metrics

    path = Path(model)
    write_metrics(path, read_spec(path), {name: round(metrics[name], 4) for name in names})


@contextmanager
def show_progress() -> Iterator[Show]:
    """Give a function that shows progress on stderr: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    if not sys.stderr.isatty():
        shown_at = time.monotonic()
        first: tuple[float, int] | None = None  # when we were first told, and how much was done by then

        def log(done: int, total: int, text: str) -> None:
            nonlocal shown_at, first
            now = time.monotonic()
            first = first or (now, done)
            if now - shown_at >= LOG_SECONDS:
                shown_at = now
                text = text.replace("\n", ", ")
                if done > first[1]:
                    left = (now - first[0]) / (done - first[1]) * (total - done)
                    text += f", {timedelta(seconds=round(left))} left"
                click.echo(f"{done}/{total} {text}", err=True)

        yield log
        return
    columns = (
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)
