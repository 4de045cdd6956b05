"""Several runs at once, each on a thread of its own and ending alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from solo_rt.errors import SoloRTError, SourceError
from solo_rt.pipeline.report import RunReport

POLL_SECONDS = 0.1
STOP_SECONDS = 3.0  # for all runs together, once they are stopped

Ends = Mapping[str, RunReport | BaseException]


def run_side_by_side(
    runs: Mapping[str, Callable[[], RunReport]], stop: threading.Event, on_wait: Callable[[], None]
) -> Ends:
    """Run all to their ends and return what happened to each: its report, or what ended it.

    `on_wait` is called on this thread ten times a second. Once `stop` is set, which the runs obey, those that take
    longer are left behind.
    """
    ends: dict[str, RunReport | BaseException] = {}

    def run_one(name: str) -> None:
        try:
            ends[name] = runs[name]()
        except BaseException as error:
            ends[name] = error

    threads = [threading.Thread(target=run_one, args=(name,), name=f"solo-rt {name}", daemon=True) for name in runs]
    for thread in threads:
        thread.start()
    leave_at: float | None = None
    while any(thread.is_alive() for thread in threads) and (leave_at is None or time.monotonic() < leave_at):
        next(thread for thread in threads if thread.is_alive()).join(POLL_SECONDS)
        on_wait()
        if stop.is_set() and leave_at is None:
            leave_at = time.monotonic() + STOP_SECONDS
    busy = SourceError(f"still busy {STOP_SECONDS:g} s after the stop; what it wrote may lack its end")
    return {name: ends.get(name, busy) for name in runs}


def sum_up(ends: Ends, seconds: float) -> RunReport:
    """Return one report for all; its times are those of the source with the highest latency.

    Raises: what ended the sources, if there is no report of any.
    """
    reports = {name: end for name, end in ends.items() if isinstance(end, RunReport)}
    errors = {name: end for name, end in ends.items() if not isinstance(end, RunReport)}
    if not reports:
        raise _together(errors)
    slowest = max(reports.values(), key=lambda report: report.latency.p95)
    damages = {name: report.damage for name, report in reports.items() if report.damage is not None}
    damages |= {name: str(error) or type(error).__name__ for name, error in errors.items()}
    counted = [report.instances for report in reports.values() if report.instances is not None]
    moved = [report.moved for report in reports.values() if report.moved is not None]
    return RunReport(
        read=sum(report.read for report in reports.values()),
        processed=sum(report.processed for report in reports.values()),
        dropped=sum(report.dropped for report in reports.values()),
        skipped=sum(report.skipped for report in reports.values()),
        failed=sum(report.failed for report in reports.values()),
        instances=sum(counted) if counted else None,
        seconds=seconds,
        stages=slowest.stages,
        latency=slowest.latency,
        damage="; ".join(f"{name}: {damage}" for name, damage in damages.items()) or None,
        failures=tuple(failure for report in reports.values() for failure in report.failures),
        behind={output: missed for report in reports.values() for output, missed in report.behind.items()},
        interrupted=any(report.interrupted for report in reports.values()),
        sources=ends,
        moved=sum(moved) if moved else None,
    )


def _together(errors: Mapping[str, BaseException]) -> BaseException:
    """Return one error for all: of the kind of the first one, unless that is none of ours."""
    bugs = [error for error in errors.values() if not isinstance(error, SoloRTError)]
    if bugs:
        return bugs[0]
    first = next(iter(errors.values()))
    said = [f"{name}: {error}" for name, error in errors.items()]
    return type(first)("; ".join(said))
