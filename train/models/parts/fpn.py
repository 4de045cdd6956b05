"""Feature pyramid network (Lin et al. 2017) as SOLO uses it: five levels, the last by subsampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.conv import Conv2d


class FPN(nn.Module):
    """`forward` turns C2..C5 into P2..P6 of `channels` each, at strides 4, 8, 16, 32 and 64."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        maps = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(maps) - 1, 0, -1):
            maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size=maps[i - 1].shape[-2:], mode="nearest")
        levels = [conv(x) for conv, x in zip(self.fpn_convs, maps, strict=True)]
        return *levels, levels[-1][:, :, ::2, ::2]
