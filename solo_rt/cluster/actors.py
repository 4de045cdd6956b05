"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from solo_rt import __version__
from solo_rt.cluster.actor import Actor
from solo_rt.cluster.crew import Worker
from solo_rt.cluster.ray_cluster import Machine, RayCluster, loss
from solo_rt.cluster.worker import Job, Message, Start
from solo_rt.device import Device
from solo_rt.errors import EngineError, UsageError

MOST_THREADS = 2  # of a worker, unless said otherwise: with more, each does less


@dataclass(frozen=True, slots=True)
class Share:
    """How many workers a cluster gets, and what each of them takes."""

    size: int
    threads: int
    gpus: float  # of each


class RayWorker:
    """An actor that works. See `Worker`."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.name = token_hex(4)  # process numbers are those of one machine
        self.job: Job | None = None
        self.engine = ""
        self._ray, self._actor = ray, actor
        self.said = actor.hear.remote()  # what it says next

    def give(self, job: Job) -> None:
        self.job = job
        self._actor.give.remote(job)

    def receive(self) -> Message:
        try:
            message: Message = self._ray.get(self.said)
        except self._ray.exceptions.RayActorError as error:
            raise loss(error) from error
        self.said = self._actor.hear.remote()
        return message

    def end(self) -> str:
        with suppress(Exception):  # the cluster may be gone
            self._ray.kill(self._actor)
        return "its process or its machine"


class Actors:
    """Hires actors, each with as many CPUs as its engine has threads, and its share of a GPU. See `Employer`."""

    def __init__(
        self,
        address: str,
        *,
        workers: int | None,
        threads: int | None,
        device: str,
        model_sha256: str,
        paths: Sequence[Path],
    ) -> None:
        """Join a cluster; `paths` are files and folders that every machine must see. Raises: UsageError."""
        self._model_sha256, self._paths = model_sha256, [str(path) for path in paths]
        self._cluster = RayCluster(address)
        try:
            share = share_out(self._cluster.machines(), workers=workers, threads=threads, device=device)
        except BaseException:
            self._cluster.close()
            raise
        self.size, self.threads = share.size, share.threads
        self._remote = self._cluster.ray.remote(
            num_cpus=share.threads,
            num_gpus=share.gpus,
            max_concurrency=2,  # it is listened to while it is given a job
            max_restarts=0,  # a new one takes its place, which gets another video
            scheduling_strategy="SPREAD",
        )(Actor)

    def hire(self, start: Start) -> RayWorker:
        told = __version__, self._model_sha256, str(Path.cwd()), self._paths, pickle.dumps(start)
        actor = self._remote.remote(*told)
        return RayWorker(self._cluster.ray, actor)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        by_said = {worker.said: worker for worker in workers if isinstance(worker, RayWorker)}
        try:
            ready, _ = self._cluster.ray.wait(list(by_said), num_returns=1, timeout=seconds, fetch_local=False)
        except ConnectionError as error:
            raise EngineError(
                f"cluster {self._cluster.address}: it is gone; start the run again once it is back"
            ) from error
        return [by_said[said] for said in ready]

    def close(self) -> None:
        self._cluster.close()


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
    fitting = sum(int(machine.cpus) // each for machine in machines if machine.gpus or not on_gpu)
    if not fitting:
        raise UsageError(
            f"expected a machine that lends {each} CPUs{' and a GPU' if on_gpu else ''}, "
            f"got {len(machines)} with at most {largest}; say fewer --threads"
        )
    most = min(fitting, int(gpus)) if on_gpu and workers is None else fitting
    size = max(1, min(workers or most, most))
    return Share(size, each, 1 / math.ceil(size / gpus) if on_gpu else 0.0)
