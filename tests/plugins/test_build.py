"""nvcc takes every kernel, for the oldest and the newest cards, and CMake does as it is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from card import KERNELS, ROOT

pytestmark = pytest.mark.slow
FRAGMENTS = Path(__file__).with_name("fragments.cu")


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=900, env={**os.environ, **variables}
    )


def nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("there is no nvcc")
    return found


@pytest.mark.parametrize("unit", [*sorted(KERNELS.glob("*_cuda.cu")), FRAGMENTS], ids=lambda path: path.stem)
@pytest.mark.parametrize("position", [0, -1])
def test_nvcc_takes_every_kernel_without_a_warning(unit, position, tmp_path):
    known = run(nvcc(), "--list-gpu-arch").stdout.split()
    architecture = [name for name in known if int(name.removeprefix("compute_")) >= 70][position]
    flags = ["-std=c++17", "-O1", "-Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror"]
    done = run(nvcc(), *flags, f"-arch={architecture.replace('compute', 'sm')}", "-c", unit, "-o", tmp_path / "unit.o")
    assert done.returncode == 0, done.stderr


def test_library_needs_nothing_of_tensorrt_and_shows_its_entry_points_alone(tmp_path):
    nvcc()
    folder = ROOT / "build" / "cuda-oracle"
    options = ["-DSOLO_RT_PYTHON=off", "-DSOLO_RT_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=80"]
    for command in (["-S", ROOT, "-B", folder, *options], ["--build", folder, "--target", "solo_plugins"]):
        done = run("cmake", *command)
        assert done.returncode == 0, done.stdout + done.stderr
    library = folder / "libsolo_plugins.so"
    shown = {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).stdout.splitlines()}
    assert shown == {"getCreators", "setLoggerFinder", "solo_plugins_revision"}
    needed = run("nm", "-D", "--undefined-only", library).stdout
    assert "nvinfer" not in needed
    assert "cuda" not in needed


def test_without_a_compiler_it_fails_loudly(tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("there is no cmake")
    command = [cmake, "-S", ROOT, "-B", tmp_path, "-DSOLO_RT_PYTHON=off", "-DSOLO_RT_CUDA=on"]
    done = run(*command, "-DCMAKE_CUDA_COMPILER=CMAKE_CUDA_COMPILER-NOTFOUND", PATH="/usr/bin:/bin", CUDACXX="")
    assert done.returncode != 0
    assert "expected a CUDA compiler, found none" in " ".join(done.stderr.split())
