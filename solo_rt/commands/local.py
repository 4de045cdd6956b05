"""`solo-rt run` on this machine: one source, or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from solo_rt.commands.interrupts import Interrupts
from solo_rt.commands.lines import tell
from solo_rt.commands.page import serving
from solo_rt.commands.progress import Reporter
from solo_rt.commands.summary import sum_up
from solo_rt.commands.terminal import drain_stderr
from solo_rt.errors import UsageError
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.paths import PLACE
from solo_rt.sink.window import URI as WINDOW

STOP_SECONDS = 3.0  # from a signal to the end of the process


def run_local(
    sources: Mapping[str, str],
    pipeline: Pipeline,
    files: Sequence[str],
    *,
    show: bool,
    serve: str | None,
    serve_token: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run sources by name until they end or Ctrl-C, and return the exit code.

    `show` opens a window for the only one, `serve` is the address of a page for all. Raises: see `Pipeline.run`.
    """
    name, only = next(iter(sources.items()))
    several = len(sources) > 1
    if show and several:
        raise UsageError(f"--show: expected one source, got {len(sources)}; leave it out")
    reporter = Reporter(quiet=quiet)
    max_frames = pipeline.options.max_frames

    def hooks_of(name: str) -> Hooks:
        told = reporter.hooks_of(name, max_frames=max_frames) if several else reporter.hooks(max_frames=max_frames)
        return told.also(page(name))

    whole = replace(
        pipeline,
        source=None if several else only,
        name="" if several else name,
        sources=sources if several else (),
        sinks=[*files, WINDOW] if show else files,
        is_watched=serve is not None,
        hooks=hooks_of,
    )
    with (
        Interrupts(within=STOP_SECONDS, doing=reporter.doing) as interrupts,
        reporter.watching(interrupts),
        serving(serve, token=serve_token, decoder=pipeline.decoder) as page,
    ):
        try:
            report = whole.run(stop=interrupts.stop, on_wait=reporter.show_all)
        except KeyboardInterrupt:
            tell("solo-rt: interrupted before anything was written", fields={"exit_code": interrupts.exit_code})
            return interrupts.exit_code
    drain_stderr()
    each = [uri.replace(PLACE, one) for uri in files for one in (sources if PLACE in uri else [name])]
    code = sum_up(report, [pipeline.video.shown(uri) for uri in each], quiet=quiet, as_json=as_json)
    return code if interrupts.number is None else interrupts.exit_code
