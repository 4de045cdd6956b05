"""The masks a network predicts for the cells that have an object, whichever head it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from solo_rt.train.data.samples import MASK_STRIDE, Batch
from solo_rt.train.losses.targets import Targets
from solo_rt.train.models.parts.levels import double
from solo_rt.train.models.solo import AxisHeads, CellHeads
from solo_rt.train.models.solov2 import KernelHeads

Heads = KernelHeads | CellHeads | AxisHeads


class Prediction(NamedTuple):
    """Masks of one picture at one stride, and the objects in it. Everything float32."""

    probabilities: Tensor  # [P, pixels]
    truth: Tensor  # [G, pixels] of 0 and 1: all objects of the picture
    which: Tensor  # int64 [P]: the object that each mask should be


def is_shared(heads: Heads) -> bool:
    """Return whether a cell may be taught several masks: the kernels of SOLOv2 are, SOLO has one mask per cell."""
    return isinstance(heads, KernelHeads)


def raw_tensors(heads: Heads) -> list[Tensor]:
    """Return all tensors that the masks of `heads` are made of."""
    if isinstance(heads, KernelHeads):
        return [*heads.kernels, heads.features]
    return [*heads.features, *heads.kernels] if isinstance(heads, CellHeads) else [*heads.x, *heads.y]


def predict(heads: Heads, batch: Batch, targets: Targets) -> Iterator[Prediction]:
    """Yield the predicted masks of all pairs of `targets`, those of one picture and one size at a time.

    Sums run in float32 whatever the precision of the network.
    """
    sizes = [x.shape[-1] ** 2 for x in heads.logits]
    cells = sum(sizes)
    b = len(batch.images)
    picture, cell = targets.pair_cell // cells, targets.pair_cell % cells
    objects = torch.bincount(batch.image_index, minlength=b)
    first_object = torch.cumsum(objects, 0) - objects
    which = targets.pair_object - first_object[picture]
    shares = objects.tolist()

    if isinstance(heads, KernelHeads):
        kernels = torch.cat([x.flatten(2) for x in heads.kernels], dim=2).transpose(1, 2)  # [B, cells, E]
        chosen = kernels[picture, cell].float()  # [P, E]
        counts = torch.bincount(picture, minlength=b).tolist()
        truths = _truths(batch, shares, MASK_STRIDE)
        for features, kernel, mine, truth in zip(
            heads.features, chosen.split(counts), which.split(counts), truths, strict=True
        ):
            if len(mine):
                yield Prediction((kernel @ features.float().flatten(1)).sigmoid_(), truth, mine)
        return

    starts = torch.cumsum(torch.tensor([0, *sizes], device=cell.device), 0)
    level = torch.bucketize(cell, starts[1:], right=True)
    group = level * b + picture
    order = torch.argsort(group, stable=True)
    place = (cell - starts[level])[order]  # within its level
    counts = torch.bincount(group, minlength=b * len(sizes)).tolist()
    parts = zip(place.split(counts), which[order].split(counts), strict=True)
    truths_at: dict[int, list[Tensor]] = {}
    for number, (index, mine) in enumerate(parts):
        if not len(mine):
            continue
        i, k = divmod(number, b)
        masks = _masks_of(heads, i, k, index)  # [P, h, w]
        stride = batch.images.shape[-1] // masks.shape[-1]
        if stride not in truths_at:
            truths_at[stride] = _truths(batch, shares, stride)
        yield Prediction(masks.flatten(1), truths_at[stride][k], mine)


def _masks_of(heads: CellHeads | AxisHeads, level: int, picture: int, cells: Tensor) -> Tensor:
    """Return the probabilities `[P, h, w]` of the masks of some cells, numbered within their level, of one picture."""
    if isinstance(heads, CellHeads):
        features, kernel = heads.features[level][picture].float(), heads.kernels[level][cells].float()
        logits = torch.addmm(kernel[:, -1:], kernel[:, :-1], features.flatten(1)).unflatten(1, features.shape[1:])
        return torch.sigmoid(double(logits[None])[0])
    grid = heads.logits[level].shape[-1]
    x, y = heads.x[level][picture][cells % grid], heads.y[level][picture][cells // grid]
    return torch.sigmoid(x.float()) * torch.sigmoid(y.float())


def _truths(batch: Batch, objects: list[int], stride: int) -> list[Tensor]:
    """Return the masks of the objects of each picture, `float32 [G, pixels]` of 0 and 1."""
    return list(batch.masks_at(stride).flatten(1).float().split(objects))
