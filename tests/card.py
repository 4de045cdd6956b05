"""An emulated card: our kernels and plugins, compiled for the CPU, on the CUDA of tests/plugins/emulator.

Memory, streams, graphs and failures are those of that emulator, and everything above is the code that runs on a GPU.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_int32, c_int64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_rt.gpu import cuda
from solo_rt.gpu.cuda import Gpu, Stream
from solo_rt.gpu.kernels import Kernels

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "plugins" / "kernels"
PLUGINS = ROOT / "plugins" / "tensorrt"
EMULATOR = ROOT / "tests" / "plugins" / "emulator"
NAME, CUDA, REVISION = "Emulated A 9.0", "13", "1"
_work = ctypes.CFUNCTYPE(None)


EXISTING = ("streams", "graphs", "events", "blocks", "host_blocks")  # how many there are


class State(ctypes.Structure):
    """EmulatedCard of card.h."""

    _fields_ = [
        *[(name, c_int32) for name in ("calls", "failing", "error", "image", "driver", "runtime", "waits", "launches")],
        *[(name, c_int32) for name in EXISTING],
        *[(name, c_int64) for name in ("room", "done")],
    ]


class SpiedGpu(Gpu):
    """Keeps what is copied, as ("up" or "down", bytes), and how many graphs were recorded."""

    def __init__(self, library: Path, index: int) -> None:
        self.copied: list[tuple[str, int]] = []
        self.captured = 0
        super().__init__(library, index)

    def upload(self, target: int, source: np.ndarray, stream: Stream) -> None:
        self.copied.append(("up", source.nbytes))
        super().upload(target, source, stream)

    def download(self, target: np.ndarray, source: int, stream: Stream) -> None:
        self.copied.append(("down", target.nbytes))
        super().download(target, source, stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        return super().capture(stream, work)


class Card:
    """What tests do to the emulated card, and see of it."""

    def __init__(self) -> None:
        self.path = build_emulated()
        self._library = ctypes.CDLL(str(self.path))
        self.state = State.in_dll(self._library, "emulator_card")
        self.failures: list[BaseException] = []  # of work of the host
        self._queued: list[Any] = []  # whose functions C holds

    def open(self, index: int = 0) -> SpiedGpu:
        return SpiedGpu(self.path, index)

    def kernels(self) -> Kernels:
        return Kernels(self.path)

    def enqueue(self, stream: int, work: Callable[[], None]) -> bool:
        """Queue work of the host on a stream, or record it there, and return whether that was possible."""

        def run() -> None:
            try:
                work()
            except BaseException as error:  # which C would lose
                self.failures.append(error)

        self._queued.append(_work(run))
        return self._library.emulator_enqueue(ctypes.c_void_p(stream), self._queued[-1]) == 0

    @contextmanager
    def failing(self, call: int, error: int) -> Iterator[None]:
        """Let the call of that number fail, and from error 700 on all later ones too."""
        self.state.calls, self.state.failing, self.state.error = 0, call, error
        try:
            yield
        finally:
            self.state.failing = -1


def array_at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return what lies at an address of the emulated card, as a view."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(address)).view(dtype).reshape(shape)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """Yield the emulated card, as the one of this machine, set back in the end but for what is still there."""
    gc.collect()  # what earlier tests have left goes before anything is counted
    card = Card()
    for variable in ("SOLO_RT_KERNELS", "SOLO_RT_PLUGINS"):
        monkeypatch.setenv(variable, str(card.path))
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    kept = {name: getattr(card.state, name) for name, _ in State._fields_ if name not in EXISTING}
    yield card
    for name, value in kept.items():
        setattr(card.state, name, value)
    if card.failures:
        raise card.failures[0]


def build_emulated() -> Path:
    """Return the library of kernels and plugins on the CPU, built once for each state of the sources."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    sources = sorted([*KERNELS.iterdir(), *PLUGINS.iterdir(), *EMULATOR.iterdir()])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    target = ROOT / "build" / "emulated" / f"libsolo_kernels_{digest}.so"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob("*"):
        old.unlink()
    units = [path for path in sources if path.name.endswith("_cuda.cu") or path in PLUGINS.glob("*.cpp")]
    flags = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-w", f"-I{EMULATOR}", f"-I{KERNELS}"]
    objects = [target.with_name(f"{unit.stem}.o") for unit in units]
    for unit, out in zip(units, objects, strict=True):
        done = subprocess.run(
            [compiler, *flags, "-x", "c++", "-c", unit, "-o", out], capture_output=True, text=True, timeout=120
        )
        if "_Float16" in done.stderr:
            pytest.skip("g++ has no _Float16: GCC 12 or newer is needed")
        assert done.returncode == 0, done.stderr
    part = target.with_suffix(".part")
    subprocess.run([compiler, "-shared", "-o", part, *objects], check=True, timeout=120)
    part.replace(target)
    return target
