"""Held-out pictures of the procedural world with a mask for every object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from solo_rt.train.data.instances.base import Annotation, InstanceSet, Size
from solo_rt.train.data.instances.masks import RunLengths
from solo_rt.world import CLASSES, MIN_VISIBLE, Scene, World


@dataclass(frozen=True, slots=True)
class DrawnInstances:
    """Picture i is a frame of world `seed + i`; `__call__` is the `read` of an `InstanceSet`, `draw` its `draw`."""

    seed: int
    size: Size

    def __call__(self, index: int) -> tuple[Size, tuple[Annotation, ...]]:
        return self.size, _annotations(self.seed + index, self.size, 7 * index)

    def draw(self, index: int) -> NDArray[np.uint8]:
        """Return picture `index`, `uint8 [H, W, 3] RGB`."""
        return _scene(self.seed + index, self.size, 7 * index).rgb


def held_out_world(*, seed: int = 0, size: Size = (360, 640), length: int = 200) -> InstanceSet:
    """Return `length` pictures of `size`, of the worlds from `seed` on, none of which is ever trained on.

    They are those of `write_coco`, before JPEG.
    """
    pictures = DrawnInstances(seed, size)
    return InstanceSet(
        kind="world",
        folder=Path("world"),
        classes=CLASSES,
        category_ids=tuple(range(1, len(CLASSES) + 1)),
        picture_ids=np.arange(1, length + 1, dtype=np.int64),
        names=tuple(f"{seed + i:06d}" for i in range(length)),
        read=pictures,
        draw=pictures.draw,
    )


def annotate(scene: Scene) -> tuple[Annotation, ...]:
    """Return the objects of a scene; one that shows less than `MIN_VISIBLE` of the picture is a crowd."""
    found = []
    for k, label in enumerate(scene.class_ids.tolist(), 1):
        mask = np.asfortranarray(scene.ids == k, np.uint8)
        code, area = coco_mask.encode(mask), int(mask.sum())
        x, y, w, h = coco_mask.toBbox(code).tolist()
        crowd = area < MIN_VISIBLE * mask.size
        found.append(Annotation(label, (x, y, x + w, y + h), float(area), crowd, RunLengths(code["counts"])))
    return tuple(found)


@lru_cache(maxsize=1)  # who asks for a picture has just asked for its objects
def _scene(seed: int, size: Size, frame: int) -> Scene:
    return World(seed, height=size[0], width=size[1]).render(frame)


@lru_cache(maxsize=1000)  # a few hundred bytes each, wanted at every checkpoint
def _annotations(seed: int, size: Size, frame: int) -> tuple[Annotation, ...]:
    return annotate(_scene(seed, size, frame))
