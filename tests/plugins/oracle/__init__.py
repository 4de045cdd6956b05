"""A real TensorRT parser and builder without a GPU, for tests.

TensorRT for RTX, which a package on PyPI brings along, parses and builds on the CPU, and the bindings of TensorRT 11
can talk to it over a shim. NVIDIA does not support the pairing: it answers whether a file parses, which layers, types
and shapes come out, and whether a plan can be built. Do not touch Runtime, add_plugin_v3, refit or stripped plans.
The packages are under NVIDIA's licence; they are installed below build/, never shipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / "build" / "oracle"
BINDINGS = "tensorrt-cu13-bindings==11.4.0.106"
BUILDER = "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0"


class Unavailable(Exception):
    """The packages cannot be had here."""


def environment() -> dict[str, str]:
    """Return the environment in which `import tensorrt_bindings` finds the builder; installs it on first use.

    Raises: Unavailable with the reason.
    """
    if not (FOLDER / "ready").exists():
        _install()
    paths = {"LD_LIBRARY_PATH": FOLDER / "lib", "PYTHONPATH": FOLDER / "site"}
    old = os.environ
    return {
        **old,
        **{name: os.pathsep.join([str(path), *filter(None, [old.get(name)])]) for name, path in paths.items()},
    }


def _install() -> None:
    site, lib = FOLDER / "site", FOLDER / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", site, BINDINGS)
    _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", FOLDER, BUILDER)
    wheel = next(FOLDER.glob("onnxruntime_ep_nv_tensorrt_rtx_cu13-*.whl"))
    for name in ("tensorrt_rtx", "tensorrt_onnxparser_rtx"):
        with zipfile.ZipFile(wheel) as archive:
            inside = next((n for n in archive.namelist() if f"/lib{name}.so." in n), None)
            if inside is None:
                raise Unavailable(f"expected lib{name}.so in {wheel.name}, found none")
            (lib / f"lib{name}.so").write_bytes(archive.read(inside))
        link = lib / f"lib{name}.so.1"
        link.unlink(missing_ok=True)
        link.symlink_to(f"lib{name}.so")
    wheel.unlink()
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        soname = f"lib{name}.so.11"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{soname}"]
        _run("g++", "-std=c++17", "-O1", *options, "-o", lib / soname, HERE / "shim.cpp", "-ldl")
    (FOLDER / "ready").touch()


def _run(*command: object) -> None:
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
