"""Package map and the CMake build of `solo_rt._native`; everything declarative is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Builds the native module with CMake; SOLO_RT_CMAKE_ARGS is passed on."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = ROOT / "build" / f"native-{sys.implementation.cache_tag}"  # fixed: rebuilds are incremental
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",  # pip's build environment is a new folder every time
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DSOLO_RT_MODULE_DIR={target}",
            "-DSOLO_RT_CUDA=off",  # _native needs none, and looking for nvcc takes seconds
            *os.environ.get("SOLO_RT_CMAKE_ARGS", "").split(),
        ]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "_native"], check=True)


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
