"""Installs this checkout, and what a Python lacks to test it, into a folder, without a network.

python tests/gpu_site.py FOLDER [--wheels FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = {"cv2": "opencv-python-headless"}  # packages that are not called as their modules
MODULES = (
    "av", "click", "cv2", "hypothesis", "numpy", "onnx", "onnxruntime", "pybind11", "pycocotools", "pytest", "rich",
    "setuptools", "torch",
)  # fmt: skip
PROGRAMS = ("cmake", "ninja")
BUILD_S = 300


def lacking() -> list[str]:
    """Return the packages that this Python lacks."""
    modules = [NAMES.get(name, name) for name in MODULES if find_spec(name) is None]
    return modules + [name for name in PROGRAMS if shutil.which(name) is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the folder anew."""
    parser = argparse.ArgumentParser(prog="scripts/test-gpu")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheels", type=Path)
    given = parser.parse_args(arguments)
    packages = lacking()
    if packages and given.wheels is None:
        print(f"scripts/test-gpu: {sys.executable} lacks {', '.join(packages)}; "
              f"put their wheels into a folder and name it in SOLO_RT_WHEELS", file=sys.stderr)  # fmt: skip
        return 1
    shutil.rmtree(given.folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
           "--target", str(given.folder)]  # fmt: skip
    commands = [[*pip, "--find-links", str(given.wheels), *packages]] if packages else []
    for command in (*commands, [*pip, "--upgrade", "--no-build-isolation", str(ROOT)]):
        if subprocess.run(command, timeout=BUILD_S).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
