"""Atrous spatial pyramid pooling (Chen et al. 2017, section 3.3): one map seen through several dilations at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm, separable
from solo_rt.train.models.parts.pooling import picture_mean

WIDTH = 256


class Aspp(nn.Module):
    """A 1x1, a 3x3 for each dilation and the mean of the picture, side by side, mixed by a 1x1 to `WIDTH` channels."""

    def __init__(self, channels: int, dilations: tuple[int, ...], *, depthwise: bool = False) -> None:
        super().__init__()

        def branch(dilation: int) -> nn.Module:
            if depthwise:
                return separable(channels, WIDTH, dilation=dilation, depthwise_relu=True)
            return conv_norm(channels, WIDTH, 3, dilation=dilation)

        self.branches = nn.ModuleList([conv_norm(channels, WIDTH), *(branch(dilation) for dilation in dilations)])
        self.picture = conv_norm(channels, WIDTH)
        self.out = nn.Sequential(conv_norm(WIDTH * (2 + len(dilations)), WIDTH), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        picture = self.picture(picture_mean(x)).expand(-1, -1, h, w)
        mixed: Tensor = self.out(torch.cat([*(branch(x) for branch in self.branches), picture], dim=1))
        return mixed  # [B, WIDTH, H, W]
