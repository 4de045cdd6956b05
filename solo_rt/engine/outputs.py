"""Copies of what an engine found, for its caller: the next frame overwrites the engine's own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def copy_outputs(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return copies of the outputs by name.

    Of `det_masks`, which are megabytes, the first `num_dets` are copied, those of the detections there are; the rest of
    the array is uninitialised.
    """
    copies = {name: array.copy() for name, array in outputs.items() if name != "det_masks"}
    if "det_masks" in outputs:
        masks = outputs["det_masks"]
        copies["det_masks"] = np.empty_like(masks)
        found = int(outputs["num_dets"].max())
        copies["det_masks"][:, :found] = masks[:, :found]
    return copies
