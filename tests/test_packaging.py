"""The wheel: one top-level name, the default model inside, a command that works far from the sources, and CUDA."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = {"solo_rt/libsolo_kernels_cuda.so", "solo_rt/libsolo_plugins.so"}
DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 4 : 2; return 0; }
"""
with_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
pytestmark = pytest.mark.slow


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Make a wheel in `folder` with other environment variables."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, **variables})


def built(folder: Path, **variables: str) -> Path:
    """Return the path of a wheel."""
    done = build(folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def doctor(wheel: Path, folder: Path) -> dict[str, tuple[bool, str]]:
    """Return what `solo-rt doctor` says of CUDA where the wheel is installed."""
    zipfile.ZipFile(wheel).extractall(folder / "site")
    command = [sys.executable, "-m", "solo_rt", "doctor", "--json"]
    variables = {**os.environ, "PYTHONPATH": str(folder / "site")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=variables)
    findings = {finding["subject"]: (finding["found"], finding["detail"]) for finding in json.loads(done.stdout)}
    return {subject: findings[subject] for subject in ("CUDA kernels", "TensorRT plugins")}


def test_wheel_installs_and_runs_on_its_own(tmp_path):
    wheel = built(tmp_path / "wheel", SOLO_RT_CUDA="off")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"solo_rt"}
    assert "solo_rt/engines/solov2-nano.onnx" in names
    assert "solo_rt/train/loop.py" in names
    assert not LIBRARIES & set(names)

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=900)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.py").write_text("raise SystemExit('a decoy was imported')\n")
    command = python.parent / "solo-rt"
    for arguments in (
        ["demo-data", ".", "--size", "320x180", "--frames", "12"],
        ["run", "--source", "cam0.avi", "--output", "out.mp4", "--save-jsonl", "out.jsonl"],
    ):
        subprocess.run([command, *arguments], cwd=elsewhere, check=True, capture_output=True, timeout=300)
    lines = [json.loads(line) for line in (elsewhere / "out.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines[1:-1]] == list(range(12))
    assert (elsewhere / "out.mp4").stat().st_size > 1000
    code = "import importlib.util, solo_rt; assert importlib.util.find_spec('torch') is None"
    subprocess.run([python, "-c", code], cwd=elsewhere, check=True, timeout=60)


@with_nvcc
def test_a_wheel_with_cuda_holds_both_libraries_and_finds_them(tmp_path):
    one_card = "-DCMAKE_CUDA_ARCHITECTURES=90-real"  # all of them take minutes
    wheel = built(tmp_path, SOLO_RT_CUDA="on", SOLO_RT_CMAKE_ARGS=one_card)
    assert set(zipfile.ZipFile(wheel).namelist()) >= LIBRARIES
    site = tmp_path / "site" / "solo_rt"
    found = doctor(wheel, tmp_path)
    assert found["TensorRT plugins"] == (True, str(site / "libsolo_plugins.so"))
    assert found["CUDA kernels"][0]
    assert found["CUDA kernels"][1].startswith(f"{site / 'libsolo_kernels_cuda.so'} for every card, by nvcc ")


def test_without_nvcc_the_doctor_says_what_adds_the_libraries(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    wheel = built(tmp_path, SOLO_RT_CUDA="auto", CUDA_HOME=nowhere)
    assert not LIBRARIES & set(zipfile.ZipFile(wheel).namelist())
    missing = f"there was no nvcc in CUDA_HOME={nowhere}; install NVIDIA's CUDA toolkit"
    reason = f"{missing}, then run pip install . in the checkout"
    assert doctor(wheel, tmp_path) == {
        "CUDA kernels": (False, f"libsolo_kernels_cuda.so is not there: {reason}"),
        "TensorRT plugins": (False, f"libsolo_plugins.so is not there: {reason}"),
    }


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"SOLO_RT_CUDA": "on", "CUDA_HOME": "/nowhere"},
            "SOLO_RT_CUDA=on: there was no nvcc in CUDA_HOME=/nowhere; inst",
        ),
        ({"SOLO_RT_CUDA": "maybe"}, "SOLO_RT_CUDA: expected auto, on or off, got maybe"),
    ],
)
def test_what_was_asked_for_and_cannot_be_had_is_an_error(tmp_path, variables, message):
    done = build(tmp_path, **variables)
    assert done.returncode != 0
    assert f"error: {message}" in done.stderr
    assert "Traceback" not in done.stderr


@with_nvcc
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_a_compiler_that_fails_for_the_card_leaves_its_reason(tmp_path):
    """As CUDA 13 does for a V100: the card is there, asked from its driver, and nvcc does not know it any more."""
    compile_it = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", tmp_path / "libcuda.so.1", "-"]
    subprocess.run(compile_it, input=DRIVER.encode(), check=True)
    wheel = built(tmp_path, SOLO_RT_CUDA="auto", LD_LIBRARY_PATH=str(tmp_path))
    found, detail = doctor(wheel, tmp_path)["TensorRT plugins"]
    assert not found
    reason = "failed to build for compute capability 4.2 (nvcc fatal : Unsupported gpu architecture 'compute_42')"
    assert reason in detail
