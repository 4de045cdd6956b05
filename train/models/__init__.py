"""The networks, by name."""

from __future__ import annotations

from solo_rt.errors import UsageError
from solo_rt.train.models.solov2 import VARIANTS, SoloV2


def build_model(name: str, num_classes: int) -> SoloV2:
    """Return the freshly initialised network `name`. Raises: UsageError for an unknown name."""
    if name not in VARIANTS:
        raise UsageError(f"unknown model {name!r}; choose one of {', '.join(VARIANTS)}")
    return SoloV2(VARIANTS[name], num_classes)
