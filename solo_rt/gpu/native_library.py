"""Where the shared libraries of CUDA are, which an installation has if it could build them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from solo_rt.errors import EngineError

NOTE = "cuda_build.txt"  # setup.py leaves it: what the libraries were built for, or why they were not


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
