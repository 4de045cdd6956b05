"""The stacks of convolutions that all SOLO heads are made of, and the layers at their ends."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.convolution import Layers
from solo_rt.train.models.parts.deform_conv import make_conv
from solo_rt.train.models.parts.resnet import DeformVersion

PRIOR = 0.01  # initial probability of a class in a cell, and of a pixel in a mask (Focal loss, section 3.3)


class ConvNorm(Layers):
    """Convolution without bias, normalisation, ReLU."""

    def __init__(
        self, channels: int, out: int, kernel: int, norm: nn.Module, *, deform: DeformVersion | None = None
    ) -> None:
        super().__init__(make_conv(channels, out, kernel, deform=deform), norm, nn.ReLU(inplace=True))
        nn.init.normal_(self[0].weight, std=0.01)  # type: ignore[arg-type]


def make_tower(
    channels: int,
    width: int,
    *,
    depth: int,
    groups: int,
    deform: DeformVersion | None = None,
    deformed: Literal["last", "all"] = "last",
) -> nn.Sequential:
    """Return `depth` 3x3 ConvNorms of `width`, the first from `channels`, with GroupNorm of `groups` groups.

    With `deform`, the last or all of their convolutions are deformable ones of that version.
    """
    layers = []
    for i in range(depth):
        version = deform if deformed == "all" or i == depth - 1 else None
        layers.append(ConvNorm(width if i else channels, width, 3, nn.GroupNorm(groups, width), deform=version))
    return nn.Sequential(*layers)


def make_prior_conv(channels: int, out: int, kernel: int) -> nn.Conv2d:
    """Return a convolution to logits that starts at a probability of 1 %."""
    conv = Conv2d(channels, out, kernel, padding=kernel // 2)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
    return conv
