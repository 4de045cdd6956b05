"""Where the shared libraries are that CMake builds and no wheel carries: they need a CUDA compiler."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from solo_rt.errors import EngineError


def find_library(target: str, variable: str) -> Path:
    """Return lib`target`.so: what the environment's `variable` names, beside this package, or in a build of a checkout.

    Raises: EngineError.
    """
    given = os.environ.get(variable)
    if given:
        if not Path(given).is_file():
            raise EngineError(f"{variable}={given}: no such file")
        return Path(given)
    name = f"lib{target}.so"
    package = Path(__file__).resolve().parent.parent
    for place in (package / name, *sorted(package.parent.glob(f"build/*/{name}"))):
        if place.is_file():
            return place
    raise EngineError(
        f"{name} is not built; run cmake -S . -B build/cuda -DSOLO_RT_PYTHON=off && cmake --build build/cuda --target "
        f"{target} in the checkout, or set {variable} to it"
    )


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
