"""Who owns cameras of a fleet: an actor of Ray, with one model for all of its cameras."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from solo_rt.cluster.actor import check
from solo_rt.cluster.camera import Camera, CameraRun, Figures
from solo_rt.cluster.worker import Start
from solo_rt.errors import EngineError, SoloRTError, UsageError
from solo_rt.pipeline.stages import check_options
from solo_rt.result import to_json

STOP_SECONDS = 2.0  # for all cameras together


class CameraOwner:
    """Opens the model and runs the cameras that it is told to. What it is told first is plain: see `Actor`."""

    def __init__(self, version: str, model_sha256: str, folder: str, paths: list[str], start: bytes) -> None:
        """Begin nothing yet; `paths` are of a file system that all machines share, `start` is a pickled `Start`."""
        with suppress(OSError):  # then relative paths are not there either
            os.chdir(folder)
        self._told = version, model_sha256, paths, start
        self._stack = ExitStack()
        self._runs: dict[Camera, CameraRun] = {}

    def begin(self) -> str | SoloRTError:
        """Open the model and return the name of this machine, or what keeps the model from being opened."""
        try:
            check(*self._told)
            start: Start = pickle.loads(self._told[-1])
            engine = self._stack.enter_context(start.pipeline.shared_engine(threading.Event()))
            check_options(engine.spec, start.pipeline.options)
        except SoloRTError as error:
            return UsageError(f"owner of cameras on {socket.gethostname()}: {error}")
        self._pipeline = replace(start.pipeline, model=engine)
        return socket.gethostname()

    def own(self, cameras: Sequence[Camera], outputs: Sequence[str]) -> None:
        """Run these cameras, and no others any more."""
        for camera in self._runs.keys() - set(cameras):
            self._runs.pop(camera).stop()
        for camera in cameras:
            if camera not in self._runs:
                self._runs[camera] = CameraRun(camera, self._pipeline, outputs)

    def report(self) -> Mapping[str, Figures] | EngineError:
        """Return how its cameras are, by name, or what is wrong with the engine, if it is of use to none of them."""
        if self._runs and all(run.lacks_engine for run in self._runs.values()):
            return EngineError(next(iter(self._runs.values())).figures.reason)
        return self._figures()

    def newest(self, name: str) -> str:
        """Return the newest result of a camera of its own as JSON, empty while there is none."""
        found = (run.newest for camera, run in self._runs.items() if camera.name == name)
        return to_json(next(found, None))

    def finish(self) -> Mapping[str, Figures]:
        """Stop all cameras, and return how they ended."""
        for run in self._runs.values():
            run.stop()
        for run in self._runs.values():
            run.join(STOP_SECONDS / max(1, len(self._runs)))
        return self._figures()

    def _figures(self) -> Mapping[str, Figures]:
        return {camera.name: run.figures for camera, run in self._runs.items()}
