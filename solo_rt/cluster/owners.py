"""Owners of cameras on the machines of a Ray cluster, as their fleet sees them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

from solo_rt import __version__
from solo_rt.cluster.camera import Camera, Figures
from solo_rt.cluster.camera_owner import CameraOwner
from solo_rt.cluster.ray_cluster import loss
from solo_rt.cluster.room import Room
from solo_rt.cluster.worker import Start
from solo_rt.errors import EngineError, SoloRTError

log = logging.getLogger(__name__)

NEWEST_SECONDS = 2.0  # that an owner may take to tell its newest result


class Owner(Protocol):
    """Somebody who runs cameras. Nothing here waits but `newest`, which any thread may call, and `ends`."""

    name: str
    place: str  # the machine; empty until the model is open

    def own(self, cameras: Sequence[Camera], outputs: Sequence[str]) -> None:
        """Let it run these cameras, and no others."""

    def hear(self) -> Mapping[str, Figures] | None:
        """Return its newest report, None while there is none newer.

        Raises: EOFError once it is lost, or its engine is; UsageError where it cannot begin; EngineError without its
        cluster.
        """

    def newest(self, camera: str) -> str:
        """Return the newest result of one of its cameras as JSON, empty where there is none to be had."""

    def finish(self) -> None:
        """Let all cameras end."""

    def ends(self, seconds: float) -> Mapping[str, Figures]:
        """Return how all cameras ended since `finish`, if they do so within so many seconds, else nothing."""

    def end(self) -> None:
        """End it, whatever it does."""


class Owners(Protocol):
    """Where owners come from."""

    @property
    def size(self) -> int:
        """How many there are, at most; that may change."""

    def hire(self) -> Owner: ...
    def close(self) -> None: ...


class RayOwner:
    """An actor. See `Owner`."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.name, self.place = f"owner-{token_hex(2)}", ""
        self._ray, self._actor = ray, actor
        self._said = actor.begin.remote()
        self._ends: Any = None

    def own(self, cameras: Sequence[Camera], outputs: Sequence[str]) -> None:
        self._actor.own.remote(list(cameras), list(outputs))

    def hear(self) -> Mapping[str, Figures] | None:
        try:
            ready, _ = self._ray.wait([self._said], timeout=0)
            if not ready:
                return None
            said = self._ray.get(self._said)
        except self._ray.exceptions.RayActorError as error:
            raise loss(error) from error
        except ConnectionError as error:
            raise EngineError("the cluster is gone; start the fleet again once it is back") from error
        self._said = self._actor.report.remote()
        if isinstance(said, SoloRTError):
            if self.place:
                log.warning("%s on %s: %s", self.name, self.place, said)
                raise EOFError  # a new one has a process of its own, and may have another machine
            raise said
        if isinstance(said, str):
            self.place = said
            return None
        figures: Mapping[str, Figures] = said
        return figures

    def newest(self, camera: str) -> str:
        try:
            newest: str = self._ray.get(self._actor.newest.remote(camera), timeout=NEWEST_SECONDS)
        except Exception:  # it is lost, or the cluster is
            return ""
        return newest

    def finish(self) -> None:
        with suppress(Exception):  # the cluster may be gone
            self._ends = self._actor.finish.remote()

    def ends(self, seconds: float) -> Mapping[str, Figures]:
        try:
            figures: Mapping[str, Figures] = self._ray.get(self._ends, timeout=seconds)
        except Exception:  # it is lost, or hangs; it is ended all the same
            return {}
        return figures

    def end(self) -> None:
        with suppress(Exception):  # the cluster may be gone
            self._ray.kill(self._actor)


class RayOwners:
    """Hires actors, each with as many CPUs as its engine has threads, and its share of a GPU. See `Owners`."""

    def __init__(
        self, address: str, start: Start, *, owners: int | None, device: str, model_sha256: str, paths: Sequence[Path]
    ) -> None:
        """Join a cluster; `paths` are files and folders that every machine must see. Raises: UsageError."""
        self._room = Room(address, workers=owners, threads=start.pipeline.threads, device=device)
        self._told = __version__, model_sha256, str(Path.cwd()), [str(path) for path in paths], pickle.dumps(start)
        self._remote = self._room.actor(CameraOwner, calls=1)

    @property
    def size(self) -> int:
        return self._room.size

    def hire(self) -> RayOwner:
        return RayOwner(self._room.cluster.ray, self._remote.remote(*self._told))

    def close(self) -> None:
        self._room.close()
