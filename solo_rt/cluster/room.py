"""Room on a Ray cluster: how many workers it has room for, and what each of them takes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from solo_rt.cluster.crew import check_workers
from solo_rt.cluster.ray_cluster import Machine, RayCluster
from solo_rt.device import Device
from solo_rt.errors import UsageError

MOST_THREADS = 2  # of a worker, unless said otherwise: with more, each does less
LOOK_SECONDS = 10.0  # between two looks at the machines

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Share:
    """How many workers a cluster gets, and what each of them takes."""

    size: int
    threads: int
    gpus: float  # of each


class Room:
    """A cluster that is joined until `close()`, and what each worker takes of it."""

    def __init__(self, address: str, *, workers: int | None, threads: int | None, device: str) -> None:
        """Join a cluster. Raises: UsageError."""
        check_workers(workers)
        self._workers = workers
        self.cluster = RayCluster(address)
        try:
            share = share_out(self.cluster.machines(), workers=workers, threads=threads, device=device)
        except BaseException:
            self.cluster.close()
            raise
        self.threads, self._gpus, self._size = share.threads, share.gpus, share.size
        self._looked_at = time.monotonic()
        free = self.cluster.free_cpus()
        if free < share.threads:
            log.warning(
                "cluster %s: %g of its CPUs are free, and a worker takes %d; the run waits for those of others",
                *(address, free, share.threads),
            )

    @property
    def size(self) -> int:
        """How many workers there are, at most: machines that come later give room, those that are gone do not."""
        if time.monotonic() >= self._looked_at + LOOK_SECONDS:
            with suppress(Exception):  # the cluster may be gone, as whoever waits for a worker is told
                found = room_for(self.cluster.machines(), threads=self.threads, gpus=self._gpus)
                self._size = max(1, min(self._workers or found, found))
            self._looked_at = time.monotonic()
        return self._size

    def actor(self, kind: type, *, calls: int) -> Any:
        """Return what makes actors of a class, each with its share, that answer so many `calls` at once."""
        return self.cluster.ray.remote(
            num_cpus=self.threads,
            num_gpus=self._gpus,
            max_concurrency=calls,
            max_restarts=0,  # a new one takes its place, which gets other work
            scheduling_strategy="SPREAD",
        )(kind)

    def close(self) -> None:
        """Leave the cluster; what was started on it from here ends."""
        self.cluster.close()


def share_out(machines: Sequence[Machine], *, workers: int | None, threads: int | None, device: str) -> Share:
    """Return what each worker gets of a cluster: by default two CPUs of as many as there are, and a GPU with CUDA.

    Raises: UsageError where no machine has that much.
    """
    wanted = Device.parse(device)
    cpus = sum(int(machine.cpus) for machine in machines)
    largest = max((int(machine.cpus) for machine in machines), default=0)
    each = threads or max(1, min(MOST_THREADS if workers is None else cpus // workers, largest))
    gpus = sum(machine.gpus for machine in machines)
    if wanted.kind == "cuda" and wanted.index:
        raise UsageError(f"device {device}: Ray chooses the GPU of each worker; say cuda")
    on_gpu = wanted.kind == "cuda"
    if on_gpu and not gpus:
        raise UsageError(f"device {device}: no machine of the cluster lends a GPU")
    fitting = room_for([one for one in machines if one.gpus or not on_gpu], threads=each, gpus=0.0)
    if not fitting:
        raise UsageError(
            f"expected a machine that lends {each} CPUs{' and a GPU' if on_gpu else ''}, "
            f"got {len(machines)} with at most {largest}; say fewer --threads"
        )
    of_each = 1 / max(1, math.ceil(min(workers or 1, fitting) / gpus)) if on_gpu else 0.0
    most = max(1, room_for(machines, threads=each, gpus=of_each))
    return Share(min(workers or most, most), each, of_each)


def room_for(machines: Sequence[Machine], *, threads: int, gpus: float) -> int:
    """Return how many workers the machines have room for, each with so many CPUs and so much of a GPU."""
    by_cpu = [int(machine.cpus) // threads for machine in machines]
    by_gpu = [round(machine.gpus / gpus, 6) if gpus else math.inf for machine in machines]
    return sum(int(min(pair)) for pair in zip(by_cpu, by_gpu, strict=True))
