"""What `solo-rt run` says when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from solo_rt.commands.lines import tell
from solo_rt.commands.options import print_json
from solo_rt.errors import SoloRTError
from solo_rt.pipeline.report import RunReport


def sum_up(report: RunReport, outputs: Sequence[str], *, quiet: bool, as_json: bool) -> int:
    """Say what a run did, and return the exit code of one that nobody interrupted.

    With several sources that is what each did or what ended it, and 4 where any source or output lacks something.
    """
    reports = {name: end for name, end in report.sources.items() if isinstance(end, RunReport)}
    errors = {name: end for name, end in report.sources.items() if not isinstance(end, RunReport)}
    if as_json:
        print_json({**report.to_record(), "outputs": list(outputs)})
    elif not quiet:
        from solo_rt.commands.tables import print_report, print_reports

        with suppress(BrokenPipeError):  # nobody reads the summary; the outputs are complete all the same
            if report.sources:
                print_reports(reports, outputs)
            else:
                print_report(report, outputs)
    for name, error in errors.items():
        is_bug = not isinstance(error, (SoloRTError, KeyboardInterrupt))
        what = f"{type(error).__name__}: {error} (a bug)" if is_bug else str(error) or "it was interrupted"
        tell(f"source {name}: {what}", level="error")
    codes = [_complain(one) for one in (reports.values() if report.sources else [report])]
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
