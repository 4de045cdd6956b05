"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from solo_rt import __version__
from solo_rt.cluster.actor import Actor
from solo_rt.cluster.crew import Worker
from solo_rt.cluster.ray_cluster import loss
from solo_rt.cluster.room import Room
from solo_rt.cluster.worker import Job, Message, Start
from solo_rt.errors import EngineError


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
        self._room = Room(address, workers=workers, threads=threads, device=device)
        self.threads = self._room.threads
        self._remote = self._room.actor(Actor, calls=2)  # it is listened to while it is given a job

    @property
    def size(self) -> int:
        return self._room.size

    def hire(self, start: Start) -> RayWorker:
        told = __version__, self._model_sha256, str(Path.cwd()), self._paths, pickle.dumps(start)
        actor = self._remote.remote(*told)
        return RayWorker(self._room.cluster.ray, actor)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        by_said = {worker.said: worker for worker in workers if isinstance(worker, RayWorker)}
        try:
            ready, _ = self._room.cluster.ray.wait(list(by_said), num_returns=1, timeout=seconds, fetch_local=False)
        except ConnectionError as error:
            raise EngineError(
                f"cluster {self._room.cluster.address}: it is gone; start the run again once it is back"
            ) from error
        return [by_said[said] for said in ready]

    def close(self) -> None:
        self._room.close()
