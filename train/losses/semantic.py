"""Losses of semantic networks: cross entropy on every classifier, hard pixels only, and which classes there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.losses.cross_entropy import cross_entropy
from solo_rt.train.models.semantic import SemanticOutput
from solo_rt.types import IGNORED

Reduce = Callable[[Tensor], Tensor]
"""From a number of this process to its mean over all processes, on the device and without a gradient.

Losses are sums over pixels divided by such a mean. Data parallel training averages gradients over processes, so that
what it applies is the gradient of the sum of all losses over the number of all pixels: the same whether a batch is on
one device or split over several.
"""

PRESENCE_WEIGHT = 0.2  # of that loss in the total


@dataclass(frozen=True, slots=True)
class HardPixels:
    """Learn only from pixels whose true class has a probability of at most `threshold`, but from `min_kept` at least.

    `min_kept` counts the hardest pixels of the batch of one process. Source: Shrivastava et al. 2016, section 4, in
    the form that semantic segmentation uses (Yuan and Wang 2018, section 4.2).
    """

    threshold: float = 0.7
    min_kept: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or self.min_kept < 1:
            raise UsageError(
                f"hard pixels: expected a threshold in (0, 1) and min_kept of at least 1, got {self.threshold} and "
                f"{self.min_kept}"
            )


def semantic_losses(
    output: SemanticOutput,
    labels: Tensor,
    *,
    aux_weights: Sequence[float] = (),
    hard_pixels: HardPixels | None = None,
    class_weights: Tensor | None = None,
    main_weight: float = 1.0,
    shrink_labels: bool = False,
    reduce: Reduce = lambda count: count,
) -> dict[str, Tensor]:
    """Return the scalars `total`, `main`, `aux`, `presence` and, without gradient, `pixel_accuracy`, for the log.

    `labels uint8 [B, H, W]` are classes or `IGNORED`. `total` is `main_weight` times `main`, plus the losses of
    `output.aux`, one weight each, plus `PRESENCE_WEIGHT` times that of `output.presence`. `aux` is the weighted sum;
    `aux` and `presence` are there only if the network has such outputs. Auxiliary logits are resized bilinearly to the
    labels, or, with `shrink_labels`, labels to the nearest ones of the logits' size, which is what ICNet's cascade
    guidance needs (Zhao et al. 2018, section 3.3: weights 1, 0.4 and 0.16 from fine to coarse, main_weight 0).
    Where the network made its logits for every `label_step`-th row and column, only those are learnt from, the first
    by chance. The class weights are `float32 [C]`.
    Sums run in float32 whatever the precision of the network. Raises: UsageError if weights and outputs do not match.
    """
    if len(output.aux) != len(aux_weights):
        raise UsageError(f"expected a weight for each auxiliary output, got {len(aux_weights)} for {len(output.aux)}")
    labels = take_steps(labels, tuple(output.out.shape[2:]))
    each, right = cross_entropy(output.out, labels)
    losses = {"main": mean_loss(each, labels, hard_pixels, class_weights=class_weights, reduce=reduce)}
    total = main_weight * losses["main"]
    if output.aux:
        parts = [
            weight * pixel_loss(*matched, hard_pixels, class_weights=class_weights, reduce=reduce)
            for weight, matched in zip(
                aux_weights, (match_sizes(logits, labels, shrink=shrink_labels) for logits in output.aux), strict=True
            )
        ]
        losses["aux"] = torch.stack(parts).sum()
        total = total + losses["aux"]
    if output.presence is not None:
        losses["presence"] = presence_loss(output.presence, labels)
        total = total + PRESENCE_WEIGHT * losses["presence"]
    accuracy = right.sum() / (labels != IGNORED).sum().clamp(min=1)
    return {"total": total, **losses, "pixel_accuracy": accuracy}


def pixel_loss(
    logits: Tensor,
    labels: Tensor,
    hard_pixels: HardPixels | None = None,
    *,
    class_weights: Tensor | None = None,
    reduce: Reduce = lambda count: count,
) -> Tensor:
    """Return the mean cross entropy of `logits [B, C, H, W]` over the pixels that count: see `mean_loss`."""
    each, _ = cross_entropy(logits, labels)
    return mean_loss(each, labels, hard_pixels, class_weights=class_weights, reduce=reduce)


def mean_loss(
    each: Tensor,
    labels: Tensor,
    hard_pixels: HardPixels | None = None,
    *,
    class_weights: Tensor | None = None,
    reduce: Reduce = lambda count: count,
) -> Tensor:
    """Return the mean of `each [B, H, W]`, losses of pixels, over those of `labels uint8 [B, H, W]` that count.

    The mean is weighted where there are `class_weights float32 [C]`. It is 0, with a gradient of 0, if no pixel counts.
    """
    counted = labels != IGNORED
    if hard_pixels is not None:
        counted = counted & hardest(each.detach(), labels, hard_pixels)
    weight = counted.float()
    if class_weights is not None:
        weight = weight * F.pad(class_weights, (0, 256 - len(class_weights)))[labels.long()]
    count = reduce(weight.sum())
    return (each * weight).sum() / torch.where(count > 0, count, torch.ones_like(count))


def take_steps(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return rows and columns of `labels [B, H, W]`, `size` of them at even steps, from one of the first on."""
    if tuple(labels.shape[1:]) == size:
        return labels
    step = labels.shape[1] // size[0]
    first = torch.randint(step, (2,)).tolist()
    rows, columns = (slice(start, start + step * count, step) for start, count in zip(first, size, strict=True))
    return labels[:, rows, columns]


def presence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross entropy of `logits [B, C]` against which classes occur in each of `labels [B, H, W]`.

    Source: Zhang et al. 2018 (EncNet), section 3.1: semantic encoding loss. `IGNORED` is no class.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), present_classes(labels, logits.shape[1]))


def present_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Return `float32 [B, C]`: 1 where a class occurs in `labels uint8 [B, H, W]`, else 0."""
    found = torch.zeros(len(labels), 256, device=labels.device)
    return found.scatter_(1, labels.flatten(1).long(), 1.0)[:, :num_classes]


def match_sizes(logits: Tensor, labels: Tensor, *, shrink: bool) -> tuple[Tensor, Tensor]:
    """Return logits and labels of one size: logits resized bilinearly, or labels to the nearest one if `shrink`."""
    size = tuple(labels.shape[1:])
    if shrink:
        # Every label of the result is one of those given: an average of two classes would be a third one.
        shrunk = F.interpolate(labels[:, None], size=tuple(logits.shape[2:]), mode="nearest-exact")  # [B, 1, h, w]
        return logits, shrunk[:, 0]
    if tuple(logits.shape[2:]) == size:
        return logits, labels
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False), labels


def hardest(losses: Tensor, labels: Tensor, hard_pixels: HardPixels) -> Tensor:
    """Return `bool [B, H, W]`: where to learn, from the cross entropy of every pixel; what is `IGNORED` has no say.

    In terms of the loss l = -ln p: l >= min(-ln threshold, the min_kept-th largest l). Everything stays on the device.
    Ignored pixels get the loss -1, below all others: with fewer labelled pixels than `min_kept` all of them are kept.
    """
    losses = torch.where(labels == IGNORED, -1.0, losses)
    kth = losses.flatten().topk(min(hard_pixels.min_kept, losses.numel()), sorted=False).values.amin()
    return losses >= torch.clamp(kth, max=-math.log(hard_pixels.threshold))
