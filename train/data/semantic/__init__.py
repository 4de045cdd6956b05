"""Semantic data sets behind `open_semantic`: readers need numpy and OpenCV only, `training` needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from solo_rt.errors import UsageError
from solo_rt.files import cache_folder
from solo_rt.train.data.semantic.ade20k import open_ade20k
from solo_rt.train.data.semantic.base import Legend, Picture, SemanticSet
from solo_rt.train.data.semantic.camvid import open_camvid, open_camvid_trainval
from solo_rt.train.data.semantic.cityscapes import open_cityscapes
from solo_rt.train.data.semantic.coco_voc import open_coco_voc
from solo_rt.train.data.semantic.folder import open_folder
from solo_rt.train.data.semantic.lip import open_lip
from solo_rt.train.data.semantic.sbu import open_sbu
from solo_rt.train.data.semantic.voc import open_voc, open_voc_aug
from solo_rt.train.data.semantic.world import held_out_world, training_world
from solo_rt.uri import expand_home

__all__ = ["READERS", "Legend", "Picture", "SemanticSet", "data_root", "open_semantic"]

READERS: dict[str, Callable[..., SemanticSet]] = {  # by scheme; called as reader(root, split=split)
    "cityscapes": open_cityscapes,
    "voc": open_voc,
    "voc-aug": open_voc_aug,
    "ade20k": open_ade20k,
    "coco-voc": open_coco_voc,
    "sbu": open_sbu,
    "lip": open_lip,
    "camvid": open_camvid,
    "camvid-trainval": open_camvid_trainval,
    "folder": open_folder,
}

WITH_TEST = ("camvid", "camvid-trainval")  # whose test labels are public
SHARED_FOLDERS = {  # below the root of all data, other than the scheme's own name
    "voc-aug": "voc",
    "coco-voc": "coco",
    "camvid-trainval": "camvid",
}


def open_semantic(uri: str, *, split: str = "val") -> SemanticSet:
    """Return the part `split` of the data set that `uri` names, such as `cityscapes:/data/city`.

    It is "train" or "val", or "test" where the labels of that are public.

    `world:` is the procedural world, whose training and held-out pictures are drawn when they are asked for. A data set
    without a path is looked for where `solo-rt download` puts it, below `data_root()`; a relative path starts there too
    if there is no such path here.
    Raises: UsageError for an unknown scheme or part, DatasetError when the files are not those of the data set.
    """
    kind, colon, place = uri.partition(":")
    if split not in (("train", "val", "test") if kind in WITH_TEST else ("train", "val")):
        raise UsageError(f"--split {split}: expected train or val; the labels of this test set are not public")
    if kind == "world" and not place:
        return training_world() if split == "train" else held_out_world()
    if not colon or kind not in READERS:
        known = ", ".join(("world:", *(f"{name}:DIR" for name in READERS)))
        raise UsageError(
            f"data set {uri!r}: expected one with classes of pixels ({known}); objects are for instance models"
        )
    return READERS[kind](_find(kind, place), split=split)


def data_root() -> Path:
    """Return the folder that holds all data sets: $SOLO_RT_DATA, or data in `cache_folder()`. Raises: CacheError."""
    chosen = os.environ.get("SOLO_RT_DATA")
    return Path(expand_home(chosen)).resolve() if chosen else cache_folder() / "data"


def _find(kind: str, place: str) -> Path:
    path = Path(expand_home(place)) if place else Path(SHARED_FOLDERS.get(kind, kind))
    if not path.is_absolute() and not (place and path.exists()):
        path = data_root() / path
    return path.resolve()
