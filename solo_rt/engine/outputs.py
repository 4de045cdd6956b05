"""Outputs that leave the memory of an engine, which the next frame overwrites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def copy_outputs(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return copies of the outputs by name.

    Of `det_masks`, which are megabytes, those from `num_dets` on do not exist: they are left as they come.
    """
    copies = {name: array.copy() for name, array in outputs.items() if name != "det_masks"}
    if "det_masks" in outputs:
        masks = outputs["det_masks"]
        copies["det_masks"] = np.empty_like(masks)
        found = int(outputs["num_dets"].max())
        copies["det_masks"][:, :found] = masks[:, :found]
    return copies
