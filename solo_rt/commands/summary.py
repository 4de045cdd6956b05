"""What `solo-rt run` says when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from solo_rt.commands.lines import tell
from solo_rt.commands.options import print_json
from solo_rt.commands.tables import print_report, print_reports
from solo_rt.errors import SoloRTError
from solo_rt.pipeline.report import RunReport


def sum_up(report: RunReport, outputs: Sequence[str], *, quiet: bool, as_json: bool) -> int:
    """Say what a run did, and return the exit code of one that nobody interrupted."""
    if as_json:
        print_json({**report.to_record(), "outputs": list(outputs)})
    elif not quiet:
        with suppress(BrokenPipeError):  # nobody reads the summary; the outputs are complete all the same
            print_report(report, outputs)
    return _complain(report)


def sum_up_all(
    ends: Mapping[str, RunReport | BaseException], outputs: Sequence[str], *, quiet: bool, as_json: bool
) -> int:
    """Say what the runs of several sources did, or what ended them, and return the exit code of them together.

    That is of an error if there is nothing else, and 4 where any source or output lacks something.
    """
    reports = {name: end for name, end in ends.items() if isinstance(end, RunReport)}
    errors = {name: end for name, end in ends.items() if not isinstance(end, RunReport)}
    if as_json:
        records = {
            name: end.to_record() if isinstance(end, RunReport) else {"error": str(end)} for name, end in ends.items()
        }
        print_json({"sources": records, "outputs": list(outputs)})
    elif not quiet and reports:
        with suppress(BrokenPipeError):
            print_reports(reports, outputs)
    for name, error in errors.items():
        is_bug = not isinstance(error, (SoloRTError, TimeoutError, KeyboardInterrupt))
        what = f"{type(error).__name__}: {error} (a bug)" if is_bug else str(error) or "it was interrupted"
        tell(f"source {name}: {what}", level="error")
    codes = [_complain(report) for report in reports.values()]
    if not reports:
        return max(error.exit_code if isinstance(error, SoloRTError) else 1 for error in errors.values())
    return 4 if errors or any(codes) else 0


def _complain(report: RunReport) -> int:
    """Say what a run lacks; return 4 if it does, and 0 if not."""
    if report.damage is not None:
        tell(f"not all of the source arrived: {report.damage}", level="warning")
    for failure in report.failures:
        lacks = f" (it lacks {failure.missed} frames)" if failure.missed else ""
        tell(f"{failure.reason}{lacks}", level="error")
    for slow, missed in report.behind.items():
        tell(f"output {slow} was too slow for its source: it lacks {missed} frames", level="warning")
    if report.failed:
        tell(f"{report.failed} frames failed and were left out", level="error")
    return 4 if report.damage is not None or report.failures or report.failed else 0
