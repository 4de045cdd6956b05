"""The two losses of SOLO: sigmoid focal loss for the classes, Dice for the masks (SOLO paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.train.data.samples import Batch
from solo_rt.train.losses.predictions import Heads, Prediction, is_shared, predict, raw_tensors
from solo_rt.train.losses.targets import Targets, assign
from solo_rt.train.models.solo import Solo
from solo_rt.train.models.solov2 import SoloV2

ALPHA, GAMMA = 0.25, 2.0
MASK_WEIGHT = 3.0
SMOOTH = 1e-3  # added to both sums of squares, so that two empty masks have a loss

Reduce = Callable[[Tensor], Tensor]  # from numbers of this process to their mean over all processes, without gradient


class Losses(NamedTuple):
    """Scalars; what is logged carries these names."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    mean_iou: Tensor  # of the positive cells' masks; without gradient, to watch


def instance_losses(
    model: SoloV2 | Solo,
    outputs: Heads,
    batch: Batch,
    *,
    imgsz: tuple[int, int],
    reduce: Reduce = lambda counts: counts,
    processes: int = 1,
) -> Losses:
    """Return the losses of what `model` made of `batch`.

    `imgsz` is the height and width that pictures are trained at: the scale ranges of a model are in pixels of its own
    size and shrink with it; the last one has no end, which the published ones do not reach. Everything else as for
    `solo_losses`.
    """
    config = model.config
    zoom = imgsz[0] / model.imgsz[0]
    ranges = [(low * zoom, high * zoom) for low, high in config.scale_ranges]
    ranges[-1] = ranges[-1][0], math.inf  # of inputs much wider than high, objects are larger than their height says
    targets = assign(batch, grids=config.grids, scale_ranges=ranges)
    return solo_losses(outputs, batch, targets, reduce=reduce, processes=processes)


def solo_losses(
    heads: Heads,
    batch: Batch,
    targets: Targets,
    *,
    reduce: Reduce = lambda counts: counts,
    processes: int = 1,
) -> Losses:
    """Return the losses of one batch. A batch without any object has mask loss 0 with a gradient of 0.

    The focal loss is divided by the number of positive cells plus one, the mask loss is the mean over pairs of a cell
    and an object. Where each of several `processes` has its share of the batch, the mean of their losses is the loss of
    the batch: positives and pairs are counted over all of them.
    Sums run in float32 whatever the precision of the network: the squares of one mask alone can exceed float16.
    """
    if not is_shared(heads):
        targets = targets.last_writers()
    logits = torch.cat([x.flatten(2) for x in heads.logits], dim=2).float().transpose(1, 2)  # a view [B, cells, C]
    owned = targets.owner >= 0
    labels = torch.cat([batch.labels, batch.labels.new_zeros(1)])  # one for -1 to point at
    owner_class = torch.where(owned, labels[targets.owner], -1)
    counts = torch.stack([owned.sum(), owned.new_tensor(len(targets.pair_cell), dtype=torch.int64)]).float()
    positives, pairs = reduce(counts)
    class_loss = focal_loss(logits, owner_class.reshape(logits.shape[:2])) / (positives + 1 / processes)

    # Whatever the targets are, every output gets a gradient: some have none here, and processes must agree on that.
    connection = sum((x[:0].sum() for x in raw_tensors(heads)), torch.zeros_like(class_loss))
    if not len(targets.pair_cell):
        return Losses(class_loss + connection, class_loss, connection, torch.zeros_like(class_loss))
    parts = [_mask_loss(prediction) for prediction in predict(heads, batch, targets)]
    losses, ious = (torch.cat(values) for values in zip(*parts, strict=True))
    mask_loss = MASK_WEIGHT * losses.sum() / pairs + connection
    return Losses(class_loss + mask_loss, class_loss, mask_loss, ious.mean())


def focal_loss(logits: Tensor, owner_class: Tensor) -> Tensor:
    """Return the summed sigmoid focal loss of `logits [..., C]`; `owner_class [...]` is the class, -1: background."""
    p = torch.sigmoid(logits)
    loss = (p**GAMMA * F.softplus(logits)).sum()  # every entry as negative: -log(1 - p) = softplus(x)
    owned = torch.nonzero(owner_class >= 0, as_tuple=True)
    entries = (*owned, owner_class[owned])
    x, q = logits[entries], p[entries]
    correction = ALPHA * (1 - q) ** GAMMA * F.softplus(-x) - (1 - ALPHA) * q**GAMMA * F.softplus(x)
    return (1 - ALPHA) * loss + correction.sum()


def dice_loss(overlap: Tensor, square: Tensor, area: Tensor) -> Tensor:
    """Return the Dice loss `[P]` of masks p against binary targets q.

    overlap: sums of p * q over the pixels; square: sums of p * p; area: sums of q; `[P]` each.
    """
    return 1 - 2 * overlap / ((square + SMOOTH) + (area + SMOOTH))


def _mask_loss(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Return the Dice loss and, without gradient, the IoU of each predicted mask, `[P]` each.

    The overlaps with all objects of the picture at once are one matrix product, and so is their gradient: no target is
    ever copied for a pair.
    """
    p, truth, which = prediction
    mine = which[None]
    area = truth.sum(1)[which]
    overlap = (truth @ p.T).gather(0, mine)[0]
    square = torch.linalg.vector_norm(p, dim=1).square()  # without a copy of p, forth or back
    with torch.no_grad():
        found = torch.gt(p, 0.5, out=torch.empty_like(p))  # as numbers, in one pass
        common = (truth @ found.T).gather(0, mine)[0]
        iou = common / (found.sum(1) + area - common).clamp(min=1)
    return dice_loss(overlap, square, area), iou
