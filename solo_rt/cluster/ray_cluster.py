"""A Ray cluster while somebody uses it: joined by its address within a bounded time, and what its machines have."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from solo_rt import __version__
from solo_rt.errors import UsageError

AUTO = "auto"  # the cluster that this machine is part of
ADDRESS = re.compile(r"(ray://)?([\w.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
PROBE_SECONDS = 5.0  # for somebody to answer at the address
JOIN_SECONDS = 60.0  # for all that follows; on a busy machine a server for ray:// takes half of it to start

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """A node of a cluster, by what it lends in all."""

    cpus: float
    gpus: float


class RayCluster:
    """A cluster that is joined until `close()`; a process joins one at a time. `ray` is the library."""

    def __init__(self, address: str) -> None:
        """Join the cluster at `auto`, HOST:PORT or ray://HOST:PORT. Raises: UsageError."""
        check_address(address)
        self.address = address
        self.ray = _library()
        if address != AUTO:
            _probe(address)
        self._join()

    def machines(self) -> list[Machine]:
        """Return the machines that are there."""
        return [
            Machine(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def free_cpus(self) -> float:
        """Return how many CPUs of them all nobody has taken."""
        free: float = self.ray.available_resources().get("CPU", 0.0)
        return free

    def close(self) -> None:
        """Leave it; what was started on it from here ends."""
        self.ray.shutdown()

    def _join(self) -> None:
        failures: list[Exception] = []

        def join() -> None:
            try:
                self.ray.init(self.address, configure_logging=False, log_to_driver=False)
            except Exception as error:  # whatever Ray, gRPC and what they are built of raise
                failures.append(error)

        # Not on this thread: it would wait as long as Ray likes, and get Ray's handlers of signals in place of ours.
        thread = threading.Thread(target=join, name="solo-rt Ray", daemon=True)
        thread.start()
        thread.join(JOIN_SECONDS)
        if thread.is_alive():
            raise UsageError(f"{_said(self.address)}: no answer within {JOIN_SECONDS:g} s; is it a Ray cluster?")
        if failures:
            raise UsageError(f"{_said(self.address)}: cannot be joined: {_reason(failures[0])}") from failures[0]


def check_address(address: str) -> None:
    """Raise UsageError for what is not the address of a cluster."""
    if address != AUTO and not ADDRESS.fullmatch(address):
        raise UsageError(f"cluster {address}: expected auto, HOST:PORT or ray://HOST:PORT")


def loss(error: Exception) -> Exception:
    """Return what it means that Ray has lost an actor: UsageError where its machine lacks solo-rt, EOFError else."""
    if "failed to import" in str(error) or "No module named" in str(error):
        return UsageError(f"a worker cannot import solo-rt; install {__version__} on all machines")
    return EOFError()


def _library() -> ModuleType:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what it will do one day
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else a call that comes too late starts a cluster here
    try:
        import ray
    except ImportError as error:
        raise UsageError("a cluster needs Ray; pip install 'solo-rt[ray]'") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    with suppress(AttributeError):  # of another release, perhaps: then it prints what it likes
        if hasattr(ray._private.worker, "print_to_stdstream"):
            ray._private.worker.print_to_stdstream = _log
    library: ModuleType = ray
    return library


def _log(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Log what Ray would print about lost workers onto standard output, which is for results."""
    log.info("%s", " ".join(str(line).strip() for line in data["lines"]))


def _probe(address: str) -> None:
    """Raise UsageError unless somebody listens at an address; Ray would try for a minute."""
    matched = ADDRESS.fullmatch(address)
    assert matched is not None
    try:
        port = int(matched[3])
        socket.create_connection((matched[2].strip("[]"), port), timeout=PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{_said(address)}: cannot be reached: {reason}; check the address") from error


def _reason(failure: Exception) -> str:
    """Return what went wrong: the first line, and the last one where that only announces a traceback."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()] or [type(failure).__name__]
    return f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def _said(address: str) -> str:
    return f"cluster {address}"
