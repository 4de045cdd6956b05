"""The shared libraries that need a CUDA compiler: where they are, their C functions, and what their failures mean."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_char_p, c_int32
from pathlib import Path
from typing import Any

from solo_rt.errors import EngineError

NOTE = "cuda_build.txt"  # setup.py leaves it: what the libraries were built for, or why they were not
KERNELS = "solo_kernels_cuda"  # the library
KERNEL_PATH = "SOLO_RT_KERNELS"  # the environment variable that names it

CAUSES = {1: "a size is out of range", 2: "an argument is out of range", 3: "the workspace is too small"}  # SoloStatus
CUDA_ERROR = 1000  # plus the cudaError_t
OLD_DRIVER = 35
WAYS_OUT = {
    2: "end what else uses the memory of the card, or let fewer frames be computed at once (--lanes 1)",
    209: "the library was built for other cards; build it again on this machine",
    222: "the library was built by a newer CUDA than the driver knows; install a newer driver, or build it again for "
    "this card",
    700: "something wrote or read where nothing is, maybe another part of this program, and the card gives no more "
    "results; start again",
}


def find_library(target: str, variable: str) -> Path:
    """Return lib`target`.so: what the environment's `variable` names, else the one beside this package.

    Raises: EngineError.
    """
    given = os.environ.get(variable)
    if given:
        if not Path(given).is_file():
            raise EngineError(f"{variable}={given}: no such file")
        return Path(given)
    path = Path(__file__).resolve().parent.parent / f"lib{target}.so"
    if not path.is_file():
        raise EngineError(f"{path.name} is not there: {build_note(path) or 'run pip install . in the checkout'}")
    return path


def build_note(path: Path) -> str:
    """Return what the library at `path` was built for, or why it was not; empty if nothing tells."""
    note = path.with_name(NOTE)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else ""


def find_kernels() -> Path:
    """Return the library of the kernels, as `find_library`. Raises: EngineError."""
    return find_library(KERNELS, KERNEL_PATH)


def load_function(path: Path, name: str, arguments: Sequence[type[Any]], result: type[Any]) -> Callable[..., Any]:
    """Return a C function of a library, which stays loaded. Raises: EngineError for another file, or version of it."""
    try:
        function = ctypes.CDLL(str(path))[name]
    except OSError as error:
        raise EngineError(f"{path}: it cannot be loaded ({' '.join(str(error).split())}); build it again") from error
    except AttributeError as error:
        raise EngineError(f"{path}: expected a function {name}, found none; build it again") from error
    function.argtypes, function.restype = arguments, result
    return function


class Calls:
    """C functions of the kernels' library that return a status, by their names without `solo_cuda_`."""

    def __init__(self, path: Path, arguments: Mapping[str, Sequence[type[Any]]]) -> None:
        """Load the library. Raises: EngineError where it cannot be, or is of another version."""
        self.path = path
        self._functions = {
            name: load_function(path, f"solo_cuda_{name}", kinds, c_int32) for name, kinds in arguments.items()
        }

    def __call__(self, name: str, *arguments: object) -> None:
        """Call a function. Raises: EngineError for a status other than success."""
        status = self._functions[name](*arguments)
        if status >= CUDA_ERROR:
            raise EngineError(f"{self._explain(status)} (solo_cuda_{name})")
        if status:
            raise EngineError(f"solo_cuda_{name}: {CAUSES.get(status, f'status {status}')}")

    def quietly(self, name: str, *arguments: object) -> None:
        """Call a function that releases something, whose failure is that of an earlier call."""
        self._functions[name](*arguments)

    def _explain(self, status: int) -> str:
        """Return what a failure of CUDA means, and what to do where that is known."""
        error = status - CUDA_ERROR
        if error == OLD_DRIVER:
            known, built = (
                "{}.{}".format(*divmod(load_function(self.path, f"solo_cuda_{name}_version", [], c_int32)() // 10, 100))
                for name in ("driver", "runtime")
            )
            return (
                f"CUDA: the driver knows CUDA {known}, {self.path} was built with {built}; install a newer driver, or "
                f"build it again with CUDA {known} or older"
            )
        text = load_function(self.path, "solo_cuda_error_text", [c_int32], c_char_p)(status).decode()
        return f"CUDA error {error}: {text}" + (f"; {WAYS_OUT[error]}" if error in WAYS_OUT else "")
