"""Where the shared libraries are that CMake builds and no wheel carries: they need a CUDA compiler."""

from __future__ import annotations

import os
from pathlib import Path

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
