"""From pictures with instance masks to the tensors the training loop consumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEAN = (123.675, 116.28, 103.53)  # ImageNet, RGB, 0..255
STD = (58.395, 57.12, 57.375)
MASK_STRIDE = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One training picture; all lengths in pixels of the padded network input."""

    image: NDArray[np.uint8]  # [h, w, 3] RGB, at most the network input
    masks: NDArray[np.uint8]  # [G, H/4, W/4] of 0 and 1, padded to the network input
    labels: NDArray[np.int64]  # [G]
    boxes: NDArray[np.float32]  # [G, 4] xyxy
    centres: NDArray[np.float32]  # [G, 2] centre of mass, x and y


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples; the objects of all of them one after another."""

    images: Tensor  # float32 [B, 3, H, W], normalised, 0 in the padding
    masks: Tensor  # uint8 [G, H/4, W/4]
    labels: Tensor  # int64 [G]
    boxes: Tensor  # float32 [G, 4]
    centres: Tensor  # float32 [G, 2]
    image_index: Tensor  # int64 [G]: which picture of the batch an object is in

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, pictures in channels-last layout."""
        images = self.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        rest = (getattr(self, name).to(device, non_blocking=True) for name in self.__slots__[1:])
        return Batch(images, *rest)


def shrink_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return `mask` at a quarter of its size, padded with 0 to `size` = (H/4, W/4).

    A target pixel is set iff at least two of the four central pixels of its 4x4 block are, which is what OpenCV's
    bilinear resize of a uint8 mask by 1/4 gives and what the published models were trained with.
    """
    h, w = mask.shape
    padded = np.zeros((4 * size[0], 4 * size[1]), np.uint8)
    padded[:h, :w] = mask
    centre = padded[1::4, 1::4] + padded[1::4, 2::4] + padded[2::4, 1::4] + padded[2::4, 2::4]
    return (centre >= 2).astype(np.uint8)


def sample_from_ids(
    image: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    labels: NDArray[np.integer],
    *,
    imgsz: tuple[int, int],
    min_area: float = 0.0,
) -> Sample:
    """Return the sample of a picture whose pixel (y, x) belongs to object `ids[y, x]` - 1, or to none where 0.

    Objects of fewer than `min_area` visible pixels are left out.
    """
    size = (imgsz[0] // MASK_STRIDE, imgsz[1] // MASK_STRIDE)
    masks, kept, boxes, centres = [], [], [], []
    for k, label in enumerate(labels, 1):
        mask = ids == k
        rows, columns = mask.sum(axis=1), mask.sum(axis=0)
        area = rows.sum()
        if area < max(min_area, 1):
            continue
        ys, xs = np.flatnonzero(rows), np.flatnonzero(columns)
        masks.append(shrink_mask(mask, size))
        kept.append(label)
        boxes.append((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
        centres.append((columns @ np.arange(len(columns)) / area, rows @ np.arange(len(rows)) / area))
    return Sample(
        image=image,
        masks=np.array(masks, np.uint8).reshape(-1, *size),
        labels=np.array(kept, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        centres=np.array(centres, np.float32).reshape(-1, 2),
    )


def collate(samples: Sequence[Sample], *, imgsz: tuple[int, int]) -> Batch:
    """Return the samples as one batch; pictures go to the top-left corner of a zero (mean-coloured) canvas."""
    images = np.zeros((len(samples), *imgsz, 3), np.float32)
    for canvas, sample in zip(images, samples, strict=True):
        h, w = sample.image.shape[:2]
        canvas[:h, :w] = (sample.image - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    counts = [len(sample.labels) for sample in samples]
    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),  # [B, 3, H, W], channels last in memory
        masks=torch.from_numpy(np.concatenate([sample.masks for sample in samples])),
        labels=torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
        boxes=torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
        centres=torch.from_numpy(np.concatenate([sample.centres for sample in samples])),
        image_index=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
    )
