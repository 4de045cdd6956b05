"""Package map and the CMake builds of `solo_rt._native` and the CUDA libraries; the rest is in pyproject.toml.

SOLO_RT_CUDA says what becomes of the CUDA kernels and TensorRT plugins. `auto`, the default, builds them for the cards
of this machine if it has any, and nvcc. `on` builds them for every card that nvcc knows, and fails where it cannot;
`off` leaves them out. SOLO_RT_CMAKE_ARGS is passed on to CMake.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
LIBRARIES = ("solo_kernels_cuda", "solo_plugins")  # CMake's targets
NOTE = "cuda_build.txt"  # beside the libraries: what they were built for, or why they were not, for solo_rt.gpu


class NotBuilt(Exception):
    """Why there are no CUDA libraries, and what to do about it."""


class CMakeBuild(build_ext):
    """Builds the native module and, where they are wanted, the CUDA libraries beside it."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        package = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        options = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
        run_cmake(f"native-{sys.implementation.cache_tag}", package, ["_native"], options)

        for name in LIBRARIES:  # of an earlier build
            (package / f"lib{name}.so").unlink(missing_ok=True)
        wanted = os.environ.get("SOLO_RT_CUDA", "auto")
        try:
            note = build_cuda(package, wanted)
        except NotBuilt as reason:
            if wanted == "on":
                raise CompileError(f"SOLO_RT_CUDA=on: {reason}") from None
            note = str(reason)
            self.warn(f"without CUDA libraries: {note}")
        (package / NOTE).write_text(note + "\n", encoding="utf-8")

    def copy_extensions_to_source(self) -> None:
        """Copy what was built into the checkout, which is where an editable installation runs."""
        super().copy_extensions_to_source()
        for name in (*(f"lib{name}.so" for name in LIBRARIES), NOTE):
            built, wanted = Path(self.build_lib) / "solo_rt" / name, ROOT / "solo_rt" / name
            wanted.unlink(missing_ok=True)
            if built.is_file():
                shutil.copy2(built, wanted)


def run_cmake(folder: str, package: Path, targets: list[str], options: list[str]) -> None:
    """Build targets into the package. Raises: CompileError, with the first thing that went wrong; all is printed."""
    build = ROOT / "build" / folder  # fixed: rebuilds are incremental
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",  # pip's build environment is a new folder every time
        f"-DSOLO_RT_MODULE_DIR={package}", *options, *os.environ.get("SOLO_RT_CMAKE_ARGS", "").split(),
    ]  # fmt: skip
    for command in (configure, ["cmake", "--build", str(build), "--target", *targets]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, flush=True)
        if done.returncode:
            raise CompileError(complaint(done.stdout))


def build_cuda(package: Path, wanted: str) -> str:
    """Build the CUDA libraries and return what with and what for. Raises: NotBuilt."""
    if wanted not in ("auto", "on", "off"):
        raise CompileError(f"SOLO_RT_CUDA: expected auto, on or off, got {wanted}")
    if wanted == "off":
        raise NotBuilt("it was installed with SOLO_RT_CUDA=off; run pip install . in the checkout")
    nvcc = find_nvcc()
    options = [f"-DCMAKE_CUDA_COMPILER={nvcc}", "-DSOLO_RT_PYTHON=off", "-DSOLO_RT_CUDA=on"]
    if wanted == "on":
        cards, options = "every card", [*options, "-UCMAKE_CUDA_ARCHITECTURES"]  # not those of an earlier build
    else:
        found = sorted(capabilities())
        if not found:
            raise NotBuilt(
                "there was no NVIDIA card to build for; SOLO_RT_CUDA=on pip install . in the checkout does without"
            )
        cards = f"compute capability {', '.join(f'{major}.{minor}' for major, minor in found)}"
        options.append(f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(f'{major}{minor}-real' for major, minor in found)}")
    try:
        run_cmake("cuda", package, list(LIBRARIES), options)
    except CompileError as error:
        raise NotBuilt(
            f"{nvcc} failed to build for {cards} ({error}); run pip install -v . in the checkout to see all of it"
        ) from None
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    given = os.environ.get("SOLO_RT_CMAKE_ARGS")
    return f"for {cards}, by nvcc {''.join(re.findall(r'release ([0-9.]+)', version))}{f', {given}' if given else ''}"


def find_nvcc() -> str:
    """Return the path of nvcc. Raises: NotBuilt."""
    home = os.environ.get("CUDA_HOME")
    places = f"{home}/bin" if home else f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin"
    nvcc = shutil.which("nvcc", path=places)
    if nvcc is None:
        where = f"in CUDA_HOME={home}" if home else "on PATH or in /usr/local/cuda"
        raise NotBuilt(
            f"there was no nvcc {where}; install NVIDIA's CUDA toolkit, then run pip install . in the checkout"
        )
    return nvcc


def capabilities() -> set[tuple[int, int]]:
    """Return the compute capabilities of the cards as the driver tells them; a Jetson's nvidia-smi does not know."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return set()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return set()
    found = set()
    for device in range(count.value):
        major, minor = ctypes.c_int(), ctypes.c_int()
        for number, value in ((75, major), (76, minor)):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
            driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        found.add((major.value, minor.value))
    return found


def complaint(output: str) -> str:
    """Return the first error of a compiler or linker in what was said, else that of CMake."""
    for pattern in (r"^.*\b(?:fatal|error)\b *(?::|--).*$", r"(?<=\(message\):\n)(?s:.+?)(?=\n\n)"):
        found = re.search(pattern, output, re.MULTILINE | re.IGNORECASE)
        if found:
            return " ".join(found[0].split())
    return "it gave no reason"


setup(
    packages=[
        "solo_rt",
        "solo_rt.engines",
        "solo_rt.train",
        *(f"solo_rt.{name}" for name in find_packages("solo_rt")),
        *(f"solo_rt.train.{name}" for name in find_packages("train")),
    ],
    package_dir={"solo_rt.train": "train", "solo_rt.engines": "engines"},
    package_data={
        "solo_rt": ["py.typed", "*.pyi"],
        "solo_rt.engines": ["*.onnx"],
        "solo_rt.serve": ["page/*"],
        "solo_rt.bench": ["*.json"],
    },
    ext_modules=[Extension("solo_rt._native", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
