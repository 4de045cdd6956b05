"""`solo-rt run --cluster` with cameras: a fleet of them on the machines of a Ray cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.commands.interrupts import Interrupts
from solo_rt.commands.lines import tell
from solo_rt.commands.options import print_json
from solo_rt.commands.progress import show_line
from solo_rt.commands.terminal import drain_stderr
from solo_rt.engine import find_model
from solo_rt.errors import UsageError
from solo_rt.files import file_sha256
from solo_rt.pipeline import Pipeline
from solo_rt.pipeline.paths import PLACE
from solo_rt.sink import check_video
from solo_rt.sink.address import check_needs, split
from solo_rt.uri import expand_home, redact, scheme

STOP_SECONDS = 10.0  # from a signal to the end of the process: the cluster has to be told

if TYPE_CHECKING:
    from solo_rt.cluster.camera import Figures
    from solo_rt.cluster.fleet import FleetReport, FleetStatus
    from solo_rt.serve import Site


def run_fleet(
    sources: Mapping[str, str],
    pipeline: Pipeline,
    outputs: Sequence[str],
    *,
    cluster: str,
    owners: int | None,
    site: Site | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run cameras by name on a cluster until Ctrl-C, and return the exit code.

    Raises: UsageError, EngineError.
    """
    from solo_rt.cluster.fleet import Fleet
    from solo_rt.cluster.owners import RayOwners
    from solo_rt.cluster.worker import Start

    for output in outputs:
        if PLACE not in output:
            raise UsageError(f"output {redact(output)}: with --cluster its name needs {PLACE}, as in {PLACE}.jsonl")
    check_needs(outputs, has_zones=bool(pipeline.options.zones), has_tracks=pipeline.options.track)
    check_video(pipeline.video, outputs, gpu=None)  # those of the cluster's machines
    replace(pipeline, sources=sources, sinks=outputs).of_each()  # refuses outputs of several that would be the same
    assert pipeline.model is None or isinstance(pipeline.model, (str, Path))
    folders = {_folder(output) for output in outputs if not scheme(output)}
    paths = [*sorted(folders), *(Path(uri) for uri in sources.values() if Path(uri).exists())]
    show_page = _page_of(site, sources)
    with (
        Interrupts(within=STOP_SECONDS, doing=lambda: "the cameras do not end") as interrupts,
        nullcontext() if quiet else show_line() as show,
    ):

        def on_status(status: FleetStatus) -> None:
            show_page(status)
            if show is not None:
                show(*_describe(status))

        hiring = RayOwners(
            cluster,
            Start(pipeline, 0),
            owners=owners,
            device=pipeline.device,
            model_sha256=file_sha256(find_model(pipeline.model)),
            paths=paths,
        )
        with closing(hiring):
            report = Fleet(sources, outputs, on_status=on_status).run(hiring, interrupts.stop)
    drain_stderr()
    code = _sum_up(report, quiet=quiet, as_json=as_json)
    return code if interrupts.number is None else interrupts.exit_code


def _folder(output: str) -> Path:
    """Return the folder that an output is written in, or that of several, one for each source."""
    path = Path(split(expand_home(output))[1].partition(PLACE)[0] + PLACE)
    return path.parent


def _page_of(site: Site | None, names: Iterable[str]) -> Callable[[FleetStatus], None]:
    """Return what shows how cameras are on the page, if there is one."""
    if site is None:
        return lambda status: None
    views = {name: site.far_view(name) for name in names}

    def show(status: FleetStatus) -> None:
        for name, camera in status.cameras.items():
            figures = camera.figures
            place = f"by {camera.owner} on {camera.place}" if camera.owner else "nobody runs it"
            told = {
                "owner": camera.owner,
                "place": camera.place,
                "results": figures.processed,
                "fps": round(figures.fps, 1),
                "latency": [round(1e3 * seconds, 2) for seconds in figures.latency],
                "frames": {
                    kind: getattr(figures, kind) for kind in ("read", "processed", "dropped", "skipped", "failed")
                },
            }
            reason = ", ".join(filter(None, [place, figures.reason]))
            views[name].tell(figures.state, reason, told, newest=camera.newest)

    return show


def _describe(status: FleetStatus) -> tuple[str, dict[str, object]]:
    """Return how a fleet is, in a line and as figures for programs."""
    states = Counter(camera.figures.state for camera in status.cameras.values())
    running = states.pop("live", 0) + states.pop("running", 0)
    fps = sum(camera.figures.fps for camera in status.cameras.values())
    places = len({camera.place for camera in status.cameras.values() if camera.owner})
    line = [
        f"{running} of {len(status.cameras)} cameras run",
        *(f"{count} {state}" for state, count in sorted(states.items())),
        f"{status.owners} owners on {places} machines",
        f"{fps:.1f} fps",
        *([f"{status.lost} owners lost"] if status.lost else []),
    ]
    figures = {"cameras": len(status.cameras), "running": running, "owners": status.owners, "lost": status.lost}
    return ", ".join(line), {**figures, "fps": round(fps, 2)}


def _sum_up(report: FleetReport, *, quiet: bool, as_json: bool) -> int:
    """Say what became of the cameras, and return the exit code of a run that nobody interrupted."""
    if as_json:
        cameras = {
            name: {"owner": one.owner, "place": one.place, **one.figures.to_record()}
            for name, one in report.cameras.items()
        }
        fleet = {"lost": report.lost, "moved": report.moved, "longest_gap": round(report.longest_gap, 2)}
        print_json({**fleet, "seconds": round(report.seconds, 2), "cameras": cameras})
    elif not quiet:
        for name, one in report.cameras.items():
            figures = one.figures
            click.echo(
                f"{name}: {figures.state}, {figures.processed} results, {figures.dropped} dropped, "
                f"{figures.fps:.1f} fps, last by {one.owner or 'nobody'}"
            )
    if report.lost:
        tell(
            f"{report.lost} owners of cameras were lost; {report.moved} times a camera went to another one, "
            f"{report.longest_gap:.1f} s without results at most",
            level="warning",
        )
    lacking = {name: one.figures for name, one in report.cameras.items() if _lacks(one.figures)}
    for name, figures in lacking.items():
        tell(f"{name}: {figures.reason}", level="error" if figures.state == "failed" else "warning")
    return 4 if lacking else 0


def _lacks(figures: Figures) -> bool:
    """Return whether results of a camera are missing: it failed, or ended with damage or without an output."""
    return figures.state == "failed" or (figures.is_over and figures.reason != "")
