"""The devices that kernel tests run on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the twins of the CPU kernels' tests

from devices import Cuda, Device, Emulated, open_gpu


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> Device:
    """Return the emulator, and the GPU where there is one."""
    return open_gpu() if request.param == "cuda" else Emulated()


@pytest.fixture(scope="session")
def gpu() -> Cuda:
    """Return the GPU."""
    return open_gpu()
