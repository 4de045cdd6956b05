"""From pictures with instance masks to the tensors the training loop consumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solo_rt.spec import DIVISOR, MEAN, STD

MASK_STRIDE = 4
MASK_STRIDES = (4, 8, 16)  # of the mask targets: SOLOv2 has the first only, SOLO and Decoupled SOLO one per level

_LEVELS: NDArray[np.float32] = np.arange(256, dtype=np.float32)[:, None]
NORMALISED = ((_LEVELS - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).reshape(256, 1, 3)


@dataclass(frozen=True, slots=True)
class Sample:
    """One training picture; all lengths in pixels of the network input, which may reach beyond it right and below."""

    image: NDArray[np.uint8]  # [h, w, 3] RGB
    masks: NDArray[np.uint8]  # [G, h/4, w/4] of 0 and 1, sizes rounded up or as large as those of the batch
    masks_8: NDArray[np.uint8]  # [G, h/8, w/8] likewise
    masks_16: NDArray[np.uint8]  # [G, h/16, w/16] likewise
    labels: NDArray[np.int64]  # [G]
    boxes: NDArray[np.float32]  # [G, 4] xyxy
    centres: NDArray[np.float32]  # [G, 2] centre of mass, x and y


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples; the objects of all of them one after another."""

    images: Tensor  # float32 [B, 3, H, W], normalised, 0 in the padding
    masks: Tensor  # uint8 [G, H/4, W/4]
    masks_8: Tensor  # uint8 [G, H/8, W/8]
    masks_16: Tensor  # uint8 [G, H/16, W/16]
    labels: Tensor  # int64 [G]
    boxes: Tensor  # float32 [G, 4]
    centres: Tensor  # float32 [G, 2]
    image_index: Tensor  # int64 [G]: which picture of the batch an object is in

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, pictures in channels-last layout."""
        images = self.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        rest = (getattr(self, name).to(device, non_blocking=True) for name in self.__slots__[1:])
        return Batch(images, *rest)

    def masks_at(self, stride: int) -> Tensor:
        """Return the mask targets `uint8 [G, H/stride, W/stride]` of 0 and 1; `stride` is one of `MASK_STRIDES`."""
        return {4: self.masks, 8: self.masks_8, 16: self.masks_16}[stride]


def central_pixels(stride: int, length: int) -> tuple[slice, slice]:
    """Return the pixels of an axis of `length` that decide about a mask target: two in the middle of every block.

    A target pixel is set iff at least two of the four central pixels of its block are, which is what OpenCV's bilinear
    resize of a uint8 mask gives and what the published models were trained with.
    """
    first = stride // 2 - 1
    return slice(first, length, stride), slice(first + 1, length, stride)


def _central(picture: NDArray[np.generic], size: tuple[int, int], stride: int) -> NDArray[np.generic]:
    """Return the central pixels of all blocks, `[4, *size]`, of a picture padded with 0."""
    h, w = picture.shape
    padded = np.zeros((stride * size[0], stride * size[1]), picture.dtype)
    padded[:h, :w] = picture
    rows, columns = (central_pixels(stride, length) for length in padded.shape)
    return np.stack([padded[row, column] for row in rows for column in columns])


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
    kept, boxes, centres = [], [], []
    for k in range(1, len(labels) + 1):
        mask = ids == k
        rows, columns = mask.sum(axis=1), mask.sum(axis=0)
        area = rows.sum()
        if area < max(min_area, 1):
            continue
        ys, xs = np.flatnonzero(rows), np.flatnonzero(columns)
        kept.append(k)
        boxes.append((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
        centres.append((columns @ np.arange(len(columns)) / area, rows @ np.arange(len(rows)) / area))

    def targets(stride: int) -> NDArray[np.uint8]:
        size = (imgsz[0] // stride, imgsz[1] // stride)
        central = _central(ids, size, stride)
        return np.array([(central == k).sum(0) >= 2 for k in kept], np.uint8).reshape(-1, *size)

    masks, masks_8, masks_16 = map(targets, MASK_STRIDES)
    return Sample(
        image=image,
        masks=masks,
        masks_8=masks_8,
        masks_16=masks_16,
        labels=np.array([labels[k - 1] for k in kept], np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        centres=np.array(centres, np.float32).reshape(-1, 2),
    )


def collate(samples: Sequence[Sample], *, imgsz: tuple[int, int] | None = None) -> Batch:
    """Return the samples as one batch; pictures go to the top-left corner of a zero (mean-coloured) canvas.

    The batch is `imgsz` large, or, without it, as large as its largest picture, rounded up to multiples of 32.
    """
    if imgsz is None:
        sides = np.max([sample.image.shape[:2] for sample in samples], axis=0)
        height, width = (-(-int(side) // DIVISOR) * DIVISOR for side in sides)
    else:
        height, width = imgsz
    images = np.zeros((len(samples), height, width, 3), np.float32)
    for canvas, sample in zip(images, samples, strict=True):
        h, w = sample.image.shape[:2]
        cv2.LUT(sample.image, NORMALISED, dst=canvas[:h, :w])
    counts = [len(sample.labels) for sample in samples]

    def stack(masks: list[NDArray[np.uint8]], stride: int) -> Tensor:
        stacked = np.zeros((sum(counts), height // stride, width // stride), np.uint8)
        for start, part in zip(np.cumsum([0, *counts]), masks, strict=False):
            stacked[start : start + len(part), : part.shape[1], : part.shape[2]] = part
        return torch.from_numpy(stacked)

    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),  # [B, 3, H, W], channels last in memory
        masks=stack([sample.masks for sample in samples], 4),
        masks_8=stack([sample.masks_8 for sample in samples], 8),
        masks_16=stack([sample.masks_16 for sample in samples], 16),
        labels=torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
        boxes=torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
        centres=torch.from_numpy(np.concatenate([sample.centres for sample in samples])),
        image_index=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
    )
