"""The procedural world with a class for every pixel: the background and the seven shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solo_rt.train.data.pictures import Image, Labels
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.world import CLASSES, TRAINING_SEEDS, Scene, World

LEGEND = Legend(
    classes=("background", *CLASSES),
    palette=(
        (0, 0, 0),
        (230, 60, 60),
        (240, 170, 30),
        (60, 170, 70),
        (60, 130, 230),
        (150, 80, 220),
        (40, 190, 190),
        (240, 110, 190),
    ),
    unpainted=(0,),
)
TRAINING_LENGTH = 100_000
MOST_OBJECTS = 20


@dataclass(frozen=True, slots=True)
class DrawnPictures:
    """Picture i of the training pictures: a frame of a world of its own.

    Its height is `size[0]` at the least and up to 1.25 times that, its aspect ratio that of `size` or, in two of five
    pictures, another. What is drawn larger than needed is cropped by the augmentation: nothing is resized twice.
    """

    seed: int
    size: tuple[int, int]

    def __call__(self, index: int) -> tuple[Image, Labels]:
        rng = np.random.default_rng([self.seed, 5, index])
        zoom = rng.uniform(1.0, 1.25)
        ratio = self.size[1] / self.size[0] if rng.random() < 0.6 else rng.uniform(1.0, 2.0)
        height = int(self.size[0] * zoom + 0.5)
        world = World(
            TRAINING_SEEDS + self.seed * 10_000_000 + index,
            height=height,
            width=int(height * ratio + 0.5),
            objects=int(rng.integers(0, MOST_OBJECTS)),
        )
        scene = world.render(int(rng.integers(0, 100_000)))
        return scene.rgb, class_map(scene)


@dataclass(frozen=True, slots=True)
class HeldOutPictures:
    """Picture i of the held-out pictures: world `seed + i`, which training never shows."""

    seed: int
    size: tuple[int, int]

    def __call__(self, index: int) -> tuple[Image, Labels]:
        scene = World(self.seed + index, height=self.size[0], width=self.size[1]).render(7 * index)
        return scene.rgb, class_map(scene)


def class_map(scene: Scene) -> Labels:
    """Return the class of every pixel, `uint8 [H, W]`: 0 is the background, k + 1 is class k of the world."""
    lookup = np.zeros(256, np.uint8)
    lookup[1 : len(scene.class_ids) + 1] = scene.class_ids + 1
    return lookup[scene.ids]


def training_world(*, seed: int = 0, size: tuple[int, int] = (256, 448), length: int = TRAINING_LENGTH) -> SemanticSet:
    """Return `length` pictures that depend on their number and `seed` alone, each at least `size[0]` high."""
    names = tuple(f"world-{seed}-{i:06d}" for i in range(length))
    return SemanticSet("world", LEGEND, names, DrawnPictures(seed, size))


def held_out_world(*, seed: int = 0, size: tuple[int, int] = (360, 640), length: int = 200) -> SemanticSet:
    """Return `length` pictures of `size`, of the worlds from `seed` on, none of which is ever trained on."""
    names = tuple(f"{seed + i:06d}" for i in range(length))
    return SemanticSet("world", LEGEND, names, HeldOutPictures(seed, size))
