"""The devices that kernel tests run on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the twins of the CPU kernels' tests

from devices import Cuda, Device, Emulated, Missing


def open_gpu() -> Cuda:
    """Return the GPU; without one skip the test, or fail it where SOLO_RT_REQUIRE_GPU=1 promises one."""
    try:
        return Cuda()
    except Missing as reason:
        if os.environ.get("SOLO_RT_REQUIRE_GPU") == "1":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> Device:
    """Return the emulator, and the GPU where there is one."""
    return open_gpu() if request.param == "cuda" else Emulated()


@pytest.fixture(scope="session")
def gpu() -> Cuda:
    """Return the GPU."""
    return open_gpu()
