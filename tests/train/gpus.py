"""Where the device side of the PyTorch engine runs in tests: on a GPU, or on the host with emulated kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from devices import Emulated, open_gpu

from solo_rt.engine import cuda
from solo_rt.engine.kernels import Kernels


class HostStream:
    """Work on the host is done at once, so there is nothing to wait for."""

    handle = 0

    def synchronize(self) -> None:
        pass


class HostGpu:
    """The host as a `Gpu`, as far as the PyTorch engine asks: what was captured runs again on every launch."""

    name = "host"

    def __init__(self) -> None:
        self.captured = self.launched = 0

    def stream(self) -> HostStream:
        return HostStream()

    def capture(self, stream: HostStream, work: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1

        def launch() -> None:
            self.launched += 1
            work()

        return launch


@dataclass(frozen=True)
class Place:
    """A device, what gives streams there, and the kernels that run there."""

    device: torch.device
    gpu: cuda.Gpu | HostGpu
    library: Kernels


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request: pytest.FixtureRequest) -> Place:
    """Return the host and, where there is one, the GPU."""
    if request.param == "emulated":
        return Place(torch.device("cpu"), HostGpu(), Emulated().kernels)
    library = open_gpu().kernels
    return Place(torch.device("cuda", 0), cuda.open_gpu(0, backend="torch"), library)
