"""The devices that kernel tests run on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from devices import Cuda, Device, Emulated


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> Device:
    """Return the emulator, and the GPU where there is one."""
    return Cuda() if request.param == "cuda" else Emulated()


@pytest.fixture(scope="session")
def gpu() -> Cuda:
    """Return the GPU."""
    return Cuda()
