"""The networks, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from solo_rt.errors import UsageError
from solo_rt.train.models import (
    bisenet,
    ccnet,
    cgnet,
    danet,
    deeplabv3,
    deeplabv3_plus,
    denseaspp,
    dunet,
    encnet,
    enet,
    espnetv2,
    fast_scnn,
    fcn,
    icnet,
    lednet,
    ocnet,
    psanet,
    pspnet,
    solo,
    solov2,
)
from solo_rt.train.models.network import Network
from solo_rt.train.models.parts.levels import LEVEL_STRIDES, MOST_CELLS

Builder = Callable[[int], Network]  # from the number of classes to a freshly initialised network

SEMANTIC: dict[str, Builder] = {
    **fast_scnn.BUILDERS,
    **fcn.BUILDERS,
    **enet.BUILDERS,
    **pspnet.BUILDERS,
    **icnet.BUILDERS,
    **deeplabv3.BUILDERS,
    **deeplabv3_plus.BUILDERS,
    **bisenet.BUILDERS,
    **denseaspp.BUILDERS,
    **encnet.BUILDERS,
    **danet.BUILDERS,
    **cgnet.BUILDERS,
    **espnetv2.BUILDERS,
    **lednet.BUILDERS,
    **ocnet.BUILDERS,
    **dunet.BUILDERS,
    **ccnet.BUILDERS,
    **psanet.BUILDERS,
}
BUILDERS: dict[str, Builder] = {**solov2.BUILDERS, **solo.BUILDERS, **SEMANTIC}


def build_model(name: str, num_classes: int, *, grids: tuple[int, ...] | None = None) -> Network:
    """Return the freshly initialised network `name`; `grids` are cells along each side, by level, instead of its own.

    Raises: UsageError for an unknown name, or grids of a network that has none or not as many.
    """
    check_model(name)
    if grids is None:
        return BUILDERS[name](num_classes)
    if name in SEMANTIC:
        raise UsageError(f"--grids are cells of networks of instances, {name} labels pixels; leave it out")
    if len(grids) != len(LEVEL_STRIDES) or not 1 <= min(grids) <= max(grids) <= MOST_CELLS:
        raise UsageError(f"--grids: expected {len(LEVEL_STRIDES)} numbers of 1 to {MOST_CELLS}, got {grids}")
    if name in solov2.VARIANTS:
        return solov2.SoloV2(replace(solov2.VARIANTS[name], grids=grids), num_classes)
    return solo.Solo(replace(solo.VARIANTS[name], grids=grids), num_classes)


def is_semantic(name: str) -> bool:
    """Return whether the network `name` labels pixels; otherwise it finds instances. Raises: as `check_model`."""
    check_model(name)
    return name in SEMANTIC


def published_scale(name: str, imgsz: tuple[int, int]) -> tuple[int, int]:
    """Return the most pixels of the long and of the short side of a picture that the network `name` is measured on.

    Those of the publication where `imgsz` is the size of its network of instances, else the sides of `imgsz`.
    """
    config = solov2.VARIANTS.get(name) or solo.VARIANTS.get(name)
    published = config.test_scale if config and imgsz == config.imgsz else None
    return published or (max(imgsz), min(imgsz))


def check_model(name: str) -> None:
    """Raise UsageError unless there is a network of this name."""
    if name not in BUILDERS:
        raise UsageError(f"unknown model {name!r}; expected one of {', '.join(sorted(BUILDERS))}")
