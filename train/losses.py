"""The two losses of SOLO: sigmoid focal loss for the classes, Dice for the masks (SOLO paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.train.data.samples import Batch
from solo_rt.train.models.solov2 import Heads
from solo_rt.train.targets import Targets

ALPHA, GAMMA = 0.25, 2.0
MASK_WEIGHT = 3.0


Reduce = Callable[[Tensor], Tensor]  # from numbers of this process to their mean over all processes, without gradient


class Losses(NamedTuple):
    """Scalars; what is logged carries these names."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    mean_iou: Tensor  # of the positive cells' masks; without gradient, to watch


def focal_loss(logits: Tensor, owner_class: Tensor) -> Tensor:
    """Return the summed sigmoid focal loss of `logits [N, C]`; `owner_class [N]` is the class, -1 for background."""
    p = torch.sigmoid(logits)
    loss = (1 - ALPHA) * p**GAMMA * F.softplus(logits)  # every entry as negative: -log(1 - p) = softplus(x)
    rows = torch.nonzero(owner_class >= 0).squeeze(1)
    columns = owner_class[rows]
    x, q = logits[rows, columns], p[rows, columns]
    correction = ALPHA * (1 - q) ** GAMMA * F.softplus(-x) - (1 - ALPHA) * q**GAMMA * F.softplus(x)
    return loss.sum() + correction.sum()


def dice_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the Dice loss `[P]` of masks `[P, pixels]` in 0..1 against binary targets `[P, pixels]`."""
    overlap = (probabilities * targets).sum(1)
    return 1 - 2 * overlap / ((probabilities.square().sum(1) + 1e-3) + (targets.sum(1) + 1e-3))


def solo_losses(
    heads: Heads,
    batch: Batch,
    targets: Targets,
    *,
    reduce: Reduce = lambda counts: counts,
    processes: int = 1,
) -> Losses:
    """Return the losses of one batch. A batch without any object has mask loss 0 with a gradient of 0.

    Where each of several `processes` has its share of the batch, the mean of their losses is the loss of the batch:
    positives and pairs are counted over all of them.
    Sums run in float32 whatever the precision of the network: the squares of one mask alone can exceed float16.
    """
    logits = torch.cat([x.flatten(2) for x in heads.logits], dim=2).float().transpose(1, 2)  # [B, cells, C]
    kernels = torch.cat([x.flatten(2) for x in heads.kernels], dim=2).float().transpose(1, 2)  # [B, cells, E]
    features = heads.features.float().flatten(2)  # [B, E, pixels]
    b, cells, c = logits.shape

    owned = targets.owner >= 0
    if len(batch.labels):
        owner_class = torch.where(owned, batch.labels[targets.owner.clamp(min=0)], -1)
    else:
        owner_class = targets.owner
    counts = torch.stack([owned.sum(), owned.new_tensor(len(targets.pair_cell), dtype=torch.int64)]).float()
    positives, pairs = reduce(counts)
    class_loss = focal_loss(logits.reshape(-1, c), owner_class) / (positives + 1 / processes)

    if not len(targets.pair_cell):
        nothing = features.sum() * 0 + kernels.sum() * 0
        return Losses(class_loss + nothing, class_loss, nothing, nothing.detach())
    losses, ious = [], []
    picture = targets.pair_cell // cells
    for i in range(b):
        mine = picture == i
        kernel = kernels[i][targets.pair_cell[mine] - i * cells]  # [P, E]
        probabilities = torch.sigmoid(kernel @ features[i])  # [P, pixels]
        truth = batch.masks[targets.pair_object[mine]].flatten(1).float()
        losses.append(dice_loss(probabilities, truth))
        with torch.no_grad():
            found = (probabilities > 0.5).float()
            overlap = (found * truth).sum(1)
            ious.append(overlap / (found.sum(1) + truth.sum(1) - overlap).clamp(min=1))
    mask_loss = MASK_WEIGHT * torch.cat(losses).sum() / pairs
    return Losses(class_loss + mask_loss, class_loss, mask_loss, torch.cat(ious).mean())
