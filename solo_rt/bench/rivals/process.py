"""A rival in a process of its own."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from solo_rt.bench.laps import Lap
from solo_rt.bench.rivals import Task
from solo_rt.errors import EngineError

COMMAND = (sys.executable, "-m", "solo_rt.bench.rivals")
LEAST_FRAMES = 4  # of a lap
PATIENCE = 300.0  # seconds for one answer
POLL_SECONDS = 0.1


class Process:
    """A rival that is open and warm; `number` is that of its process."""

    def __init__(self, name: str, task: Task, stop: threading.Event, *, seconds: float) -> None:
        """Open it and let it play a little; `seconds` is how long a lap is. Raises: EngineError; KeyboardInterrupt."""
        self._name, self._stop = name, stop
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        self._process = subprocess.Popen(
            [*COMMAND, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for us, who end it
        )
        self.number = self._process.pid
        try:
            self._ask(task.to_record())
            warm = self._play(LEAST_FRAMES)
            warm = self._play(LEAST_FRAMES) if warm.seconds < seconds else warm
        except BaseException:
            self.close()
            raise
        self._fps = warm.fps

    def lap(self, seconds: float) -> Lap:
        """Return a lap of about so many seconds, at most the clip's. Raises: EngineError; KeyboardInterrupt."""
        lap = self._play(max(LEAST_FRAMES, round(self._fps * seconds)))
        self._fps = lap.fps
        return lap

    def close(self) -> None:
        """End the process. Calling it again does nothing."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _play(self, frames: int) -> Lap:
        answer = self._ask({"frames": frames})
        if not answer["frames"]:
            raise EngineError(f"{self._name}: expected frames of the clip, it read none")
        return Lap(answer["frames"], answer["seconds"], objects=answer["objects"])

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise EngineError(self._end()) from None
        ends = time.monotonic() + PATIENCE
        while not select.select([self._process.stdout], [], [], POLL_SECONDS)[0]:
            if self._stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > ends:
                raise EngineError(f"{self._name}: no answer for {PATIENCE:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(self._end())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self._name}: {answer['error']}")
        return answer

    def _end(self) -> str:
        """Return how the process ended, with the last thing it said."""
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{self._name}: its process ended with {code}: {last}"
