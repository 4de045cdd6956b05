"""Which engine on the CPU is the fastest for a model: measured once on this machine, and remembered.

A guess by the maker of the CPU or by the instructions it has is wrong too often: of two models on one machine each can
be faster with another engine.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from solo_rt.cpu import allowed_cores, instructions, is_busy, processor
from solo_rt.device import Device
from solo_rt.engine.base import Engine
from solo_rt.engine.precision import Precision
from solo_rt.files import cache_folder, replace_file

MEASURING_SECONDS = 0.5  # for all candidates together, once each has computed a picture
MOST_SECONDS = 2.0  # on a machine that is busy with something else
LEAST_ROUNDS = 2
ALIKE = 1.25  # times the shortest that the next one is at most where nothing else was at work
FOLDER = "fastest"  # in the cache folder

log = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """An engine that could compute a model."""

    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def open_fastest(
    path: Path,
    candidates: Sequence[Candidate],
    open_it: Callable[[Candidate], Engine],
    *,
    device: Device,
    threads: int,
    lanes: int,
) -> Engine:
    """Return the opened engine of the candidate that takes least time for a picture.

    Where that is known for this file, machine, device and number of threads it is opened at once; else all are opened
    and measured, which takes a second or two. What was measured on a busy machine is measured again on a quiet one: of
    two engines one may suffer more. Candidates that cannot be opened are passed over, if one is left.
    Raises: what `open_it` raises for the last candidate, if there is no other.
    """
    if len(candidates) == 1:
        return open_it(candidates[0])
    key = _key(path, candidates, device=device, threads=threads, lanes=lanes)
    busy = is_busy()
    chosen = _recall(key, candidates, busy=busy)
    if chosen is not None:
        return open_it(chosen)
    with ExitStack() as stack:
        engines: dict[Candidate, Engine] = {}
        for candidate in candidates:
            try:
                engines[candidate] = stack.enter_context(closing(open_it(candidate)))
            except Exception as error:
                log.info("passed over: %s: %s", candidate, error)
                if candidate is candidates[-1] and not engines:
                    raise
        times = measure(engines)
        chosen = min(times, key=lambda candidate: times[candidate])
        stack.pop_all()
    for candidate, engine in engines.items():
        if candidate is not chosen:
            engine.close()
    said = {str(candidate): round(1e3 * seconds, 3) for candidate, seconds in times.items()}
    log.info("%s: ms a picture: %s", path, ", ".join(f"{name} {ms:.2f}" for name, ms in said.items()))
    with suppress(OSError):  # then it is measured again
        memory = _path(key)
        memory.parent.mkdir(parents=True, exist_ok=True)
        replace_file(memory, json.dumps({"chosen": list(chosen), "ms": said, "busy": busy}).encode())
    return engines[chosen]


def measure(engines: Mapping[Candidate, Engine]) -> dict[Candidate, float]:
    """Return the least seconds of each for a picture.

    They take turns, so that a busy machine slows all alike, and more of them until the two shortest of each are alike.
    """
    times: dict[Candidate, list[float]] = {candidate: [] for candidate in engines}
    began, limit, rounds = time.monotonic(), 0.0, 0
    while rounds < LEAST_ROUNDS or time.monotonic() < began + limit:
        for candidate, engine in engines.items():
            size = engine.spec.input
            picture = np.zeros((size.batch, 3, size.height, size.width), np.float32)
            started = time.perf_counter()
            engine.infer({size.name: picture})
            times[candidate].append(time.perf_counter() - started)
        rounds += 1
        limit = MEASURING_SECONDS if _are_alike(times.values()) else MOST_SECONDS
    return {candidate: min(seconds) for candidate, seconds in times.items()}


def _are_alike(times: Iterable[Sequence[float]]) -> bool:
    return all(sorted(seconds)[:2][-1] <= ALIKE * min(seconds) for seconds in times)


def recall(
    path: Path, candidates: Sequence[Candidate], *, device: Device, threads: int, lanes: int
) -> dict[str, float]:
    """Return the milliseconds that were measured for a picture, by candidate; nothing where none were."""
    try:
        record = json.loads(_path(_key(path, candidates, device=device, threads=threads, lanes=lanes)).read_text())
        return {str(name): float(ms) for name, ms in record["ms"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _recall(key: str, candidates: Sequence[Candidate], *, busy: bool) -> Candidate | None:
    try:
        record = json.loads(_path(key).read_text())
        chosen, was_busy = Candidate(*record["chosen"]), record["busy"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return chosen if chosen in candidates and (busy or not was_busy) else None


def _key(path: Path, candidates: Sequence[Candidate], *, device: Device, threads: int, lanes: int) -> str:
    """Return the name under which what was measured is kept: another one for whatever may change the outcome."""
    status = path.stat()
    facts = [
        *(str(path.resolve()), status.st_size, status.st_mtime_ns, threads, lanes, processor(), allowed_cores()),
        *(str(device), *instructions()),
        *map(str, candidates),
        *(_installed(name) for name in ("onnxruntime", "openvino")),
    ]
    return sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _path(key: str) -> Path:
    return cache_folder() / FOLDER / f"{key}.json"


def _installed(package: str) -> str:
    """Return what changes when another version of a package is installed; asking for versions takes a start 8 ms."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return ""
    return f"{found.origin} {Path(found.origin).stat().st_mtime_ns}"
