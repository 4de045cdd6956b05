"""Where the device side of the PyTorch engine runs in tests: on a GPU, or on the host with emulated kernels."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from devices import Emulated, open_gpu

from solo_rt.gpu import cuda
from solo_rt.gpu.kernels import Kernels


@dataclass(frozen=True)
class HostMemory:
    """Memory of the host that stands for a device's."""

    owner: torch.Tensor
    ptr: int
    nbytes: int


class HostStream:
    """Work on the host is done at once, so there is nothing to wait for."""

    handle = 0

    def synchronize(self) -> None:
        pass


class HostGpu:
    """The host as a `Gpu`, on which PyTorch computes as well: what was captured runs again on every launch."""

    name, cuda, has_graphs = "host", "0", True

    def __init__(self) -> None:
        self.captured = self.launched = 0

    def bound(self) -> AbstractContextManager[None]:
        return nullcontext()

    def allocate(self, nbytes: int) -> HostMemory:
        memory = torch.zeros(nbytes, dtype=torch.uint8)
        return HostMemory(memory, memory.data_ptr(), nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    def stream(self) -> HostStream:
        return HostStream()

    def upload(self, target: HostMemory, source: NDArray[Any], stream: HostStream) -> None:
        ctypes.memmove(target.ptr, source.ctypes.data, source.nbytes)

    def download(self, target: NDArray[Any], source: HostMemory, stream: HostStream) -> None:
        ctypes.memmove(target.ctypes.data, source.ptr, target.nbytes)

    def capture(self, stream: HostStream, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1

        def launch() -> None:
            self.launched += 1
            work()

        return launch


class HostTensors(TorchDispatchMode):
    """Counts operations that read or write tensors of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.count += any(isinstance(x, torch.Tensor) and x.is_cpu for x in tree_leaves((args, kwargs, out)))
        return out


@dataclass(frozen=True)
class Place:
    """A device, what gives streams there, and the kernels that run there."""

    device: torch.device
    gpu: cuda.Gpu | HostGpu
    library: Kernels


def emulated_kernels() -> Kernels:
    """Return kernels that run on the host."""
    return Emulated().kernels


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request: pytest.FixtureRequest) -> Place:
    """Return the host and, where there is one, the GPU."""
    if request.param == "emulated":
        return Place(torch.device("cpu"), HostGpu(), emulated_kernels())
    library = open_gpu().kernels
    return Place(torch.device("cuda", 0), cuda.open_gpu(0, backend="torch"), library)
