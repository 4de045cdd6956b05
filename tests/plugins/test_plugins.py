"""The TensorRT plugins without TensorRT: interface, attributes, shapes, types, and what they compute."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from card import build_emulated
from devices import Cuda

HERE = Path(__file__).parent


def test_harness(tmp_path):
    objects = sorted(build_emulated().parent.glob("*.o"))
    program = tmp_path / "harness"
    compile_it = ["g++", "-std=c++17", "-O1", "-w", HERE / "harness.cpp", *objects, "-o", program]
    subprocess.run(compile_it, check=True, timeout=120)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.returncode == 0
    assert "nms_pre: expected 1..2048" in done.stderr
    assert "expected a plan with layout version 1, got 2; build the engine again" in done.stderr


@pytest.mark.cuda
def test_harness_on_a_gpu(gpu: Cuda, tmp_path):
    folder, program = gpu.path.parent, tmp_path / "harness"
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    flags = ["-std=c++17", "-O1", "-w", "-DSOLO_RT_HARNESS_CUDA", f"-I{toolkit}/include"]
    libraries = [f"-L{folder}", f"-Wl,-rpath,{folder}", "-lsolo_plugins", f"-L{toolkit}/lib64", "-lcudart"]
    subprocess.run(["g++", *flags, HERE / "harness.cpp", *libraries, "-o", program], check=True, timeout=120)
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{toolkit}/lib64:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == ""
    assert done.returncode == 0


def test_declarations_agree_with_the_headers_of_tensorrt(tmp_path):
    include = os.environ.get("TENSORRT_INCLUDE")
    if include is None:
        pytest.skip("set TENSORRT_INCLUDE to the folder of NvInferRuntime.h")
    program = tmp_path / "abi_agreement"
    flags = ["-std=c++17", "-w", f"-I{include}", "-I/usr/local/cuda/include"]
    subprocess.run(["g++", *flags, HERE / "abi_agreement.cpp", "-o", program], check=True, timeout=60)
    done = subprocess.run([program], capture_output=True, text=True, timeout=10)
    assert done.stdout == ""
    assert done.returncode == 0
