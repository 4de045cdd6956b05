"""Which worker owns which camera: a pure function of what cameras cost, who is there and who owned them before."""

from __future__ import annotations

import math
from collections.abc import Mapping

from solo_rt.errors import UsageError

# Of the mean load: as long as two loads differ by no more, cameras stay, because one that moves has no picture for a
# moment, and measured costs of the same camera differ by some per cent from one second to the next.
TOLERATED = 0.2
EXACT = 1e-9  # of it as well: differences below are those of rounding


def assign(costs: Mapping[str, float], speeds: Mapping[str, float], before: Mapping[str, str]) -> dict[str, str]:
    """Return the owner of every camera by name, nobody without workers; the same for the same arguments.

    `costs` are of cameras by name: seconds of work per second, for a worker of speed 1; `speeds` are of workers. Who
    owned a camera `before` keeps it, unless loads, work by speed, differ by more than is tolerated and this one's
    moving brings them together.
    Raises: UsageError for costs below 0 and speeds that are not above 0.
    """
    for name, cost in costs.items():
        if not 0 <= cost < math.inf:
            raise UsageError(f"camera {name}: expected a cost of at least 0, got {cost}")
    for name, speed in speeds.items():
        if not 0 < speed < math.inf:
            raise UsageError(f"worker {name}: expected a speed above 0, got {speed}")
    if not speeds:
        return {}
    owned = _Owned(costs, speeds)
    for camera in sorted(costs):
        if before.get(camera) in speeds:
            owned.add(camera, before[camera])
    for camera in sorted(costs, key=lambda name: (-costs[name], name)):
        if before.get(camera) not in speeds:
            owned.add(camera, owned.best_for(camera))
    mean = sum(costs.values()) / sum(speeds.values())
    while owned.relieve(TOLERATED * mean, least=EXACT * mean):
        pass
    return {camera: worker for worker, cameras in owned.cameras.items() for camera in cameras}


class _Owned:
    """Workers, their cameras and their loads."""

    def __init__(self, costs: Mapping[str, float], speeds: Mapping[str, float]) -> None:
        self._costs, self._speeds = costs, speeds
        self.cameras: dict[str, list[str]] = {worker: [] for worker in sorted(speeds)}
        self._work = dict.fromkeys(self.cameras, 0.0)

    def add(self, camera: str, worker: str) -> None:
        self.cameras[worker].append(camera)
        self._work[worker] += self._costs[camera]

    def best_for(self, camera: str) -> str:
        """Return the worker whose load would be lowest with one more camera; of several, who has the fewest."""
        return min(self.cameras, key=lambda worker: (self._load(worker, camera), len(self.cameras[worker]), worker))

    def relieve(self, tolerated: float, *, least: float) -> bool:
        """Let the camera move that most lowers the highest load that can be lowered; return whether one did.

        The higher of the two loads gets lower each time, by more than `least`, so that this comes to an end.
        """
        for worker in sorted(self.cameras, key=lambda name: (-self._load(name), name)):
            if self._load(worker) - min(map(self._load, self.cameras)) <= tolerated:
                return False
            moves = [(self._relief(camera, worker), camera) for camera in self.cameras[worker]]
            relief, camera = max(moves, default=(0.0, ""))
            if relief > least:
                other = self.best_for(camera)
                self.cameras[worker].remove(camera)
                self._work[worker] -= self._costs[camera]
                self.add(camera, other)
                return True
        return False

    def _load(self, worker: str, also: str | None = None) -> float:
        work = self._work[worker] + (0.0 if also is None else self._costs[also])
        return work / self._speeds[worker]

    def _relief(self, camera: str, worker: str) -> float:
        """Return by how much the higher load of two gets lower if a camera moves to the best worker for it."""
        left = (self._work[worker] - self._costs[camera]) / self._speeds[worker]
        return self._load(worker) - max(left, self._load(self.best_for(camera), camera))
