"""`solo-rt run --output-dir`: what it says of an archive while it works and when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import click

from solo_rt.commands.interrupts import Interrupts
from solo_rt.commands.lines import tell
from solo_rt.commands.options import print_json
from solo_rt.commands.progress import show_progress
from solo_rt.commands.terminal import drain_stderr
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.cluster import Archive, ArchiveProgress, ArchiveReport

STOP_SECONDS = 3.0  # from a signal to the end of the process
MOST_NAMED = 10  # videos


def refuse(given: Mapping[str, object]) -> None:
    """Raise UsageError for the first option that is given and has no meaning for an archive."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{name}: it is not for archives; leave it out, or --output-dir")


def run_archive(archive: Archive, *, quiet: bool, as_json: bool) -> int:
    """Work an archive off, and return the exit code."""
    from solo_rt.cluster import process_archive

    if archive.range_minutes is not None and archive.whole_because:
        tell(f"videos are not cut into ranges: {archive.whole_because}", level="warning")
    with Interrupts(within=STOP_SECONDS, doing=lambda: "the workers do not end") as interrupts, ExitStack() as stack:
        show = None if quiet else stack.enter_context(show_progress())
        started = time.monotonic()

        def on_progress(progress: ArchiveProgress) -> None:
            if show is not None:
                fps = progress.frames / (time.monotonic() - started)
                show(progress.done, progress.videos, f"videos, {progress.frames} frames\n{fps:.1f} fps")

        report = process_archive(archive, stop=interrupts.stop, on_progress=on_progress)
    drain_stderr()
    code = _sum_up(archive, report, quiet=quiet, as_json=as_json)
    return code if interrupts.number is None else interrupts.exit_code


def _sum_up(archive: Archive, report: ArchiveReport, *, quiet: bool, as_json: bool) -> int:
    """Say what became of an archive, and return the exit code of a run that nobody interrupted."""
    if as_json:
        print_json({**report.to_record(), "output_dir": str(archive.folder)})
    elif not quiet:
        with suppress(BrokenPipeError):  # nobody reads the summary; the results are complete all the same
            click.echo(_describe(report))
            click.echo(str(archive.folder))
    if report.died:
        tell(f"{report.died} workers died; what they worked on was given to others", level="warning")
    damaged = {name: f"not all of the source arrived: {damage}" for name, damage in report.damaged.items()}
    _name(damaged, level="warning")
    _name(report.failed, level="error")
    return 4 if report.failed or report.damaged else 0


def _describe(report: ArchiveReport) -> str:
    if report.before == report.videos:
        return f"nothing to do: all {report.videos} videos are done"
    counts = [
        f"{report.before + report.done} of {report.videos} videos done",
        *([f"{report.before} of them before"] if report.before else []),
        *([f"{len(report.failed)} failed"] if report.failed else []),
        *([f"{report.left} left for the next run"] if report.left else []),
        f"{report.frames} frames in {report.seconds:.2f} s",
        f"{report.fps:.1f} fps",
        *([] if report.instances is None else [f"{report.instances} instances"]),
    ]
    return ", ".join(counts)


def _name(videos: Mapping[str, str], *, level: str) -> None:
    """Say what is wrong with videos, a line each, but not of more than people read: the manifest has them all."""
    for name, reason in list(videos.items())[:MOST_NAMED]:
        tell(f"{name}: {reason}", level=level)
    if len(videos) > MOST_NAMED:
        tell(f"the manifest has {len(videos) - MOST_NAMED} more videos like these", level=level)
