"""Cross entropy of every pixel: on a CPU by our native kernel, which reads and writes logits once each way."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from solo_rt import _native
from solo_rt.train.models.parts.pixels import pixels_of, planes_of, takes_pixels, takes_planes
from solo_rt.types import IGNORED


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of `logits [B, C, H, W]`, `float32 [B, H, W]`, and where labels are right, `bool`.

    It is 0 where `labels uint8 [B, H, W]` are `IGNORED`; others are right where no class beats them.
    """
    if takes_planes(logits) or takes_pixels(logits):
        each, right = _CrossEntropy.apply(logits, labels.contiguous())
        return each, right
    each = F.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="none")
    with torch.no_grad():
        valid = labels != IGNORED
        # Cheaper than to ask which class is best.
        own = logits.gather(1, torch.where(valid, labels, 0).long()[:, None])[:, 0]
        return each, (own >= logits.amax(1)) & valid


class _CrossEntropy(torch.autograd.Function):
    """From logits and labels to the cross entropy of every pixel, and to where labels are right, without gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits, labels)
        ctx.planar = takes_planes(logits)
        values = planes_of(logits) if ctx.planar else pixels_of(logits)
        threads = torch.get_num_threads()
        each, right = map(torch.from_numpy, _native.cross_entropy(values, labels.numpy(), ctx.planar, threads))
        ctx.mark_non_differentiable(right)
        return each, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels = ctx.saved_tensors
        slopes = torch.empty_like(logits)
        values, written = ((planes_of if ctx.planar else pixels_of)(maps) for maps in (logits, slopes))
        given = gradient.contiguous().numpy()
        _native.cross_entropy_gradient(values, labels.numpy(), given, ctx.planar, written, torch.get_num_threads())
        return slopes, None
