"""What the training loop asks of a data set, whatever is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

Sample = TypeVar("Sample")


class Batch(Protocol):
    """The samples of one step as tensors: a frozen dataclass."""

    @property
    def images(self) -> Tensor:
        """float32 [B, 3, H, W], normalised RGB, what the network gets."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""


class TrainingSet(Protocol[Sample]):
    """Pictures with their truth, augmented. Works in any process: it holds paths and numbers, no open files."""

    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of pictures, one epoch."""

    def name(self, index: int) -> str:
        """Return what a user knows picture `index` by, for messages."""

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return picture `index`, augmented; all chance comes from `rng`, so the same draw gives the same sample."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the samples as one batch."""
