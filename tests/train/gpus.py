"""Where the device side of the PyTorch engine runs in tests: on a GPU, or on the host with emulated kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from card import build_emulated
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from devices import Emulated, open_gpu

from solo_rt.gpu.cuda import Gpu, Stream
from solo_rt.gpu.kernels import Kernels
from solo_rt.train.engine.torch_gpu import TorchGpu


class HostStream(Stream):
    """The default stream, on which the emulator does everything at once, as PyTorch does on the host."""

    def __init__(self, gpu: Gpu) -> None:
        self.handle, self._gpu = 0, gpu


class HostGpu(Gpu):
    """The emulated card as one on which PyTorch computes as well: what was captured runs again on every launch."""

    def __init__(self) -> None:
        super().__init__(build_emulated(), 0)
        self.captured = self.launched = 0

    def stream(self) -> HostStream:
        return HostStream(self)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
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
    gpu: Gpu
    library: Kernels


def emulated_kernels() -> Kernels:
    """Return kernels that run on the host."""
    return Emulated().kernels


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request: pytest.FixtureRequest) -> Place:
    """Return the host and, where there is one, the GPU."""
    if request.param == "emulated":
        return Place(torch.device("cpu"), HostGpu(), emulated_kernels())
    gpu = open_gpu()
    return Place(torch.device("cuda", 0), TorchGpu(gpu.path, 0), gpu.kernels)
