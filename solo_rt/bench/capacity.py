"""How many machines a task takes, by what one of them was measured to do.

A machine that computes R frames a second spends 1/R of a second on each. R is the lower end of its 95 % confidence
interval, and of that a share is left free: frames of cameras come when they like, and one that is behind loses some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from solo_rt.errors import UsageError

Output = Literal["nothing", "json", "video"]
LAYERS: Mapping[Output, str] = {
    "nothing": "pipeline to nothing",
    "json": "pipeline to JSON lines",
    "video": "pipeline to H.264",
}
MOST = 1e12  # of anything that is asked for


@dataclass(frozen=True, slots=True)
class Machine:
    """What one machine is sure to do."""

    description: str
    layer: str
    fps: float  # as measured
    sure_fps: float  # lower end of the confidence interval
    costs_ms: Mapping[str, float]  # machine time for a frame, by layer, each with all that is below it
    frame_rate: float  # of the clip
    size: tuple[int, int]  # of its frames, width and height


@dataclass(frozen=True, slots=True)
class Plan:
    """Machines for a task."""

    machines: int
    frames_per_s: float  # of the task
    usable_fps: float  # of one machine, less what is left free
    cameras_per_machine: int | None  # None for an archive
    busy: float  # share of each machine's sure rate that is used

    def to_record(self) -> dict[str, object]:
        """Return the plan as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_machine(record: Mapping[str, Any], output: Output) -> Machine:
    """Return what a record of `solo-rt bench --json` says of its machine.

    Raises: UsageError where the layer was not measured, or once, or so unsteadily that nothing is sure.
    """
    layers, name, clip = record["layers"], LAYERS[output], record["clip"]
    if name not in layers:
        raise UsageError(f"the measurement has no layer {name!r}; let solo-rt bench end")
    if "interval" not in layers[name]:
        raise UsageError(f"the measurement has one lap of {name!r}, by which nothing is sure; let solo-rt bench end")
    fps = layers[name]["fps"]
    sure = fps - layers[name]["interval"]
    if not 0 < sure < math.inf:
        raise UsageError(
            f"{name}: {fps:.1f} frames/s were measured so unsteadily that nothing is sure; measure on an idle machine"
        )
    cpu, cores = record["machine"]["cpu"], record["machine"]["usable_cores"]
    below = ("network", "model", name)
    return Machine(
        description=f"{cpu}, {cores} cores, {record['model']['name']} on {record['engine']}",
        layer=name,
        fps=fps,
        sure_fps=sure,
        costs_ms={one: 1e3 / layers[one]["fps"] for one in below if one in layers and layers[one]["fps"] > 0},
        frame_rate=clip["frame_rate"],
        size=(clip["width"], clip["height"]),
    )


def plan_cameras(machine: Machine, *, cameras: int, fps: float, headroom: float) -> Plan:
    """Return the machines for cameras of so many frames a second, each of which stays on one machine.

    Raises: UsageError for what cannot be, and where a camera is too much for a machine.
    """
    _check(cameras=cameras, fps=fps)
    usable = _usable(machine, headroom)
    each = math.floor(usable / fps)
    if not each:
        raise UsageError(f"one camera at {fps:g} frames/s is too much for a machine that has {usable:.1f}; lower --fps")
    machines = math.ceil(cameras / each)
    return Plan(machines, cameras * fps, usable, each, cameras * fps / machines / machine.sure_fps)


def plan_archive(machine: Machine, *, hours: float, fps: float, within: float, headroom: float) -> Plan:
    """Return the machines for so many hours of video, to be done `within` so many. Raises: UsageError."""
    _check(hours=hours, fps=fps, within=within)
    usable, wanted = _usable(machine, headroom), hours * fps / within
    machines = math.ceil(wanted / usable)
    return Plan(machines, wanted, usable, None, wanted / machines / machine.sure_fps)


def _usable(machine: Machine, headroom: float) -> float:
    if not 0 <= headroom < 1:
        raise UsageError(f"headroom must be at least 0 and below 1, got {headroom:g}")
    return machine.sure_fps * (1 - headroom)


def _check(**asked: float) -> None:
    for name, value in asked.items():
        if not 1 / MOST < value < MOST:
            raise UsageError(f"{name} must be above 0, and below {MOST:g}, got {value:g}")
