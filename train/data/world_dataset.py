"""The procedural world as training data: endless, never the same picture twice."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from solo_rt.train.data.samples import Batch, Sample, collate, sample_from_ids
from solo_rt.world import CLASSES, MIN_VISIBLE, TRAINING_SEEDS, World

FRAMES_PER_WORLD = 4
LENGTH = 100_000


class WorldDataset:
    """`LENGTH` pictures, at most `imgsz` large, of varying aspect ratio. See `TrainingSet`.

    `FRAMES_PER_WORLD` pictures in a row share a world, which takes as long to make as a picture of it: they are
    cheaper in order. Being random as they are, they need no shuffling.
    """

    classes = CLASSES

    def __init__(self, *, seed: int, imgsz: tuple[int, int]) -> None:
        self.seed, self.imgsz = seed, imgsz
        self._world: tuple[int, World] | None = None

    def __len__(self) -> int:
        return LENGTH

    def name(self, index: int) -> str:
        """Return how to draw picture `index` again."""
        return f"world {self._world_seed(index // FRAMES_PER_WORLD)}, picture {index % FRAMES_PER_WORLD}"

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return picture `index`: a frame that `rng` chooses of a world that `index` chooses."""
        number = index // FRAMES_PER_WORLD
        if self._world is None or self._world[0] != number:
            self._world = number, self._make_world(number)
        world = self._world[1]
        scene = world.render(int(rng.integers(0, 100_000)))
        rgb, ids = scene.rgb, scene.ids
        fit = min(self.imgsz[0] / world.height, self.imgsz[1] / world.width)
        if fit != 1:
            h, w = int(world.height * fit + 0.5), int(world.width * fit + 0.5)
            rgb = np.asarray(cv2.resize(rgb, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)
            ids = np.asarray(cv2.resize(ids, (w, h), interpolation=cv2.INTER_NEAREST), np.uint8)
        return sample_from_ids(rgb, ids, scene.class_ids, imgsz=self.imgsz, min_area=MIN_VISIBLE * ids.size)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the samples as one batch of `imgsz`."""
        return collate(samples, imgsz=self.imgsz)

    def _world_seed(self, number: int) -> int:
        return TRAINING_SEEDS + self.seed * 10_000_000 + number

    def _make_world(self, number: int) -> World:
        """Return a world: three of five are 16:9, and three of five no larger than the network sees them."""
        rng = np.random.default_rng([self.seed, 4, number])
        height, width = self.imgsz
        ratio = 16 / 9 if rng.random() < 0.6 else rng.uniform(1.0, 2.0)
        zoom = 1.0 if rng.random() < 0.6 else rng.uniform(1.1, 2.0)
        fit = min(width, height * ratio)
        return World(
            self._world_seed(number),
            height=int(fit / ratio * zoom + 0.5),
            width=int(fit * zoom + 0.5),
            objects=int(rng.integers(0, 14)),
        )
