"""ResNets that stop shrinking: later strides become dilation, so that ImageNet weights keep their meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import nn

from solo_rt.train.models.parts.resnet import BACKBONES, ResNet

_CONFIGS = {name: BACKBONES[name] for name in ("r18", "r34", "r50", "r101")}
_CONFIGS |= {f"{name}s": replace(_CONFIGS[name], stem="deep") for name in ("r50", "r101")}


def dilated_resnet(name: str, *, output_stride: Literal[8, 16, 32] = 8) -> ResNet:
    """Return the ResNet `name`, such as r50, or r50s with a stem of three 3x3 convolutions, at `output_stride`.

    Its maps C2..C5 have strides 4, 8, and then 8 and 8, or 16 and 16, or 16 and 32.
    """
    backbone = ResNet(_CONFIGS[name])
    shrinking = {8: (backbone.layer3, backbone.layer4), 16: (backbone.layer4,), 32: ()}[output_stride]
    dilate(*shrinking)
    return backbone


def dilate(*stages: nn.Module) -> None:
    """Replace the stride of each of the last stages of a network, one per stage, by dilation of what follows it.

    The new maps, read at every second or fourth pixel, are exactly the old ones: the convolution that had the stride
    still looks at neighbours as far away as before, all later ones look twice as far.
    Source: Chen et al. 2017 (DeepLabv3), section 3.1, without its multi-grid; Yu et al. 2017 (DRN), section 2.
    """
    dilation = 1
    for stage in stages:
        before, dilation = dilation, 2 * dilation
        for conv in stage.modules():
            if not isinstance(conv, nn.Conv2d):
                continue
            if conv.kernel_size == (3, 3):
                reach = before if conv.stride == (2, 2) else dilation
                conv.dilation = conv.padding = (reach, reach)
            conv.stride = (1, 1)
