"""`solo-rt plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.commands.lines import tell
from solo_rt.commands.options import as_json, command, print_json
from solo_rt.commands.parameters import LocalPath
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.bench.capacity import Machine, Output, Plan

CAMERA_HEADROOM = 0.3


@command()
@click.option("--bench", type=LocalPath(), required=True, help="What solo-rt bench --json wrote on such a machine.")
@click.option("--cameras", type=int, help="Live sources to be computed at once.")
@click.option("--hours", type=float, help="Length of an archive.")
@click.option("--within", type=float, metavar="HOURS", help="In which the archive is to be done.")
@click.option("--fps", type=float, help="Frames per second of each source.  [default: those of the clip measured]")
@click.option(
    "--output",
    type=click.Choice(["nothing", "json", "video"]),
    default="json",
    show_default=True,
    help="What is written of each source.",
)
@click.option(
    "--headroom",
    type=float,
    metavar="SHARE",
    help=f"Of each machine, to be left free.  [default: {CAMERA_HEADROOM:g} with cameras, 0 with an archive]",
)
@as_json
def plan(
    bench: Path,
    cameras: int | None,
    hours: float | None,
    within: float | None,
    fps: float | None,
    output: Output,
    headroom: float | None,
    as_json: bool,
) -> int:
    """Say how many machines so many cameras, or an archive, would take, and why."""
    from solo_rt.bench.capacity import plan_archive, plan_cameras, read_machine
    from solo_rt.bench.schema import read_record

    if (cameras is None) == (hours is None) or (hours is None) != (within is None):
        raise UsageError("expected --cameras, or --hours and --within")
    record = read_record(bench)
    machine = read_machine(record, output)
    fps = machine.frame_rate if fps is None else fps
    if cameras is not None:
        free = CAMERA_HEADROOM if headroom is None else headroom
        found = plan_cameras(machine, cameras=cameras, fps=fps, headroom=free)
        task = f"{cameras} cameras at {fps:g} frames/s"
    else:
        assert hours is not None
        assert within is not None
        free = headroom or 0.0
        found = plan_archive(machine, hours=hours, fps=fps, within=within, headroom=free)
        task = f"{hours:g} hours at {fps:g} frames/s within {within:g} hours"
    if as_json:
        print_json(found.to_record())
    else:
        click.echo("\n".join(_reasons(task, machine, found, free)))
    for reason in record["unreliable"]:
        tell(f"the measurement is unreliable: {reason}", level="warning")
    return 0


def _reasons(task: str, machine: Machine, found: Plan, free: float) -> list[str]:
    costs = ", ".join(f"{layer} {cost:.2f} ms" for layer, cost in machine.costs_ms.items())
    each = "" if found.cameras_per_machine is None else f", which is {found.cameras_per_machine} cameras"
    width, height = machine.size
    return [
        f"{task}: {found.frames_per_s:.1f} frames/s",
        f"measured: {machine.description}",
        f"a frame of {width}x{height} takes of it, each with what is below it: {costs}",
        f"{machine.layer}: {machine.fps:.1f} frames/s, {machine.sure_fps:.1f} of them sure by 95 %",
        f"with {free:.0%} left free: {found.usable_fps:.1f} frames/s a machine{each}",
        f"machines: {found.machines}, each {found.busy:.0%} busy",
    ]
