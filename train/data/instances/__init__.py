"""Instance data sets behind `open_instances`: readers need numpy, OpenCV and pycocotools, `training` needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from solo_rt.errors import UsageError
from solo_rt.train.data.instances.base import AnnotatedPicture, Annotation, InstanceSet
from solo_rt.train.data.instances.cityscapes import open_cityscapes
from solo_rt.train.data.instances.coco import open_coco
from solo_rt.train.data.instances.mask_files import open_masks

__all__ = ["SCHEMES", "AnnotatedPicture", "Annotation", "InstanceSet", "open_instances", "unknown_instances"]

SCHEMES = {"coco": open_coco, "casia": open_coco, "cityscapes": open_cityscapes, "masks": open_masks}


def open_instances(
    uri: str, *, split: str = "val", classes: Sequence[str] | None = None, images: int | None = None
) -> InstanceSet:
    """Return the part `split`, "train" or "val", of the data set that `uri` names.

    `uri` is coco:DIR, coco:ANNOTATIONS.json,FOLDER, casia:DIR, which is COCO's format too, cityscapes:DIR or masks:DIR.
    `classes` keeps the named ones, `images` the first ones in the order of their ids; the address itself may say so:
    casia:DIR?images=8&classes=person,car. Pictures without an object are kept.
    Raises: UsageError for an address, part or class that cannot be; DatasetError when the files are not those of the
    data set.
    """
    kind, colon, rest = uri.partition(":")
    if not colon or kind not in SCHEMES:
        raise unknown_instances(f"data set {uri!r}")
    if split not in ("train", "val"):
        raise UsageError(f"--split {split}: expected train or val; the labels of this test set are not public")
    place, _, query = rest.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "images" and value.isdecimal() and int(value) > 0:
            images = min(int(value), images or int(value))
        elif name == "classes" and value:
            classes = tuple(value.split(","))
        else:
            raise UsageError(f"data set {uri!r}: expected ?images=N or ?classes=NAME,NAME, got {name}={value}")
    return SCHEMES[kind](place, split=split, classes=classes, images=images)


def unknown_instances(what: str, *others: str) -> UsageError:
    """Return what is said of an address that is none of these sets, nor of `others`."""
    known = ", ".join((*others, *(f"{name}:DIR" for name in SCHEMES)))
    return UsageError(f"{what}: expected one with objects ({known}); classes of pixels are for semantic models")
