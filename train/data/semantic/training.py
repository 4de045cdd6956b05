"""A semantic data set as the training loop consumes it: augmented pictures and labels, batched as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from solo_rt.spec import MEAN, STD
from solo_rt.train.data.pictures import Image, Labels
from solo_rt.train.data.semantic import open_semantic
from solo_rt.train.data.semantic.augment import Augmentation, augment, default_augmentation
from solo_rt.train.data.semantic.base import SemanticSet
from solo_rt.train.data.semantic.world import training_world
from solo_rt.types import IGNORED


@dataclass(frozen=True, slots=True)
class SemanticSample:
    """One training picture, at most as large as the batch."""

    image: Image  # uint8 [h, w, 3] RGB
    labels: Labels  # uint8 [h, w]


@dataclass(frozen=True, slots=True)
class SemanticBatch:
    """B pictures in the top-left corners of their canvases."""

    images: Tensor  # float32 [B, 3, H, W], normalised, 0 in the padding
    labels: Tensor  # uint8 [B, H, W], IGNORED in the padding

    def to(self, device: torch.device) -> SemanticBatch:
        """Return the batch on `device`, pictures in channels-last layout."""
        images = self.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        return SemanticBatch(images, self.labels.to(device, non_blocking=True))


class SemanticTrainingSet:
    """`data`, augmented. See `TrainingSet`."""

    def __init__(self, data: SemanticSet, augmentation: Augmentation) -> None:
        self.data, self.augmentation, self.classes = data, augmentation, data.classes

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        """Return what a user knows picture `index` by."""
        return self.data.names[index]

    def sample(self, index: int, rng: np.random.Generator) -> SemanticSample:
        """Return picture `index`, augmented; all chance comes from `rng`."""
        _, image, labels = self.data[index]
        return SemanticSample(*augment(image, labels, self.augmentation, legend=self.data.legend, rng=rng))

    def collate(self, samples: Sequence[SemanticSample]) -> SemanticBatch:
        """Return the samples as one batch of the augmentation's crop size."""
        shape = (len(samples), *self.augmentation.crop)
        images = np.zeros((*shape, 3), np.float32)
        labels = np.full(shape, IGNORED, np.uint8)
        for canvas, truth, sample in zip(images, labels, samples, strict=True):
            h, w = sample.labels.shape
            np.subtract(sample.image, np.array(MEAN, np.float32), out=canvas[:h, :w])
            canvas[:h, :w] /= np.array(STD, np.float32)
            truth[:h, :w] = sample.labels
        return SemanticBatch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),  # [B, 3, H, W], channels last in memory
            labels=torch.from_numpy(labels),
        )


def open_training_set(
    uri: str,
    *,
    imgsz: tuple[int, int] | None = None,
    zoom: tuple[float, float] | None = None,
    augmented: bool = True,
    seed: int = 0,
) -> SemanticTrainingSet:
    """Return the training part of the data set that `uri` names, in batches of `imgsz`, with its usual augmentation.

    Without `imgsz`, batches have the usual size of the data set. `zoom` is between which factors pictures are scaled,
    where not as usual. Unless `augmented`, they are only cropped. `seed` chooses the pictures of the procedural world,
    the address `world:`. Raises: as `open_semantic`.
    """
    kind = uri.partition(":")[0]
    how = default_augmentation(kind, imgsz)
    data = training_world(seed=seed, size=how.crop) if uri in ("world", "world:") else open_semantic(uri, split="train")
    if zoom is not None:
        how = replace(how, short_side=None, scales=zoom)
    if not augmented:
        how = replace(how, scales=(1.0, 1.0), mirror=0.0, blur=0.0, jitter=0.0)
    return SemanticTrainingSet(data, how)
