"""ESPNetv2 (Mehta et al., CVPR 2019): depthwise convolutions with growing dilation, and a light decoder."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm, conv_prelu, norm_prelu
from solo_rt.train.models.parts.depthwise import Depthwise
from solo_rt.train.models.parts.prelu import Prelu
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

FAR = (1, 2, 3, 4)  # dilations of the four branches
NEAR = (1, 1, 2, 3)  # at 1/16 and in the decoder, where kernels are to reach over 7 pixels at most
BRANCHES = 4
PYRAMID = 4  # maps below the first one

# What the widths are multiplied by in github.com/sacmehta/ESPNetv2.
SCALES = {"espnetv2": 1.0, "espnetv2-half": 0.5, "espnetv2-wide": 1.5, "espnetv2-double": 2.0}


def _pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 2, 1)


class Eesp(nn.Module):
    """Reduce by groups, four dilated depthwise 3x3 each with the one before added, expand by groups (section 3.2).

    The sum keeps the grid of a dilated kernel from showing. There is no activation at the end, and no shortcut.
    """

    def __init__(self, channels: int, out: int, dilations: tuple[int, ...], *, stride: int = 1) -> None:
        super().__init__()
        width = out // BRANCHES
        self.reduce = conv_prelu(channels, width, groups=BRANCHES)
        self.branches = nn.ModuleList(
            Depthwise(width, width, 3, stride, padding=d, dilation=d, groups=width, bias=False) for d in dilations
        )
        self.joint = norm_prelu(out)
        self.expand = conv_norm(out, out, groups=BRANCHES, relu=None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        maps = [self.branches[0](x)]
        for branch in self.branches[1:]:
            maps.append(branch(x) + maps[-1])
        y: Tensor = self.expand(self.joint(torch.cat(maps, dim=1)))
        return y


class Block(nn.Module):
    """An EESP unit with a shortcut."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.eesp = Eesp(channels, channels, dilations)
        self.act = Prelu(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x + self.eesp(x))
        return y


class Down(nn.Module):
    """Half the size: the mean beside a unit of stride 2, and the picture at that size added."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.eesp = Eesp(channels, out - channels, FAR, stride=2)
        self.picture = nn.Sequential(conv_prelu(3, 3, 3), conv_norm(3, out, relu=None))
        self.act = Prelu(out)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        y: Tensor = self.act(torch.cat([_pool(x), self.eesp(x)], dim=1) + self.picture(picture))
        return y


class DepthwisePyramid(nn.Module):
    """The map beside ever smaller versions of itself, each with its own depthwise 3x3, mixed by a 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            Depthwise(channels, channels, 3, padding=1, groups=channels, bias=False) for _ in range(PYRAMID)
        )
        self.out = conv_prelu(channels * (1 + PYRAMID), channels)

    def forward(self, x: Tensor) -> Tensor:
        maps, pooled = [x], x
        for stage in self.stages:
            pooled = _pool(pooled)
            maps.append(resize(stage(pooled), x))
        y: Tensor = self.out(torch.cat(maps, dim=1))
        return y


class ESPNetv2(SemanticNetwork):
    """See `SemanticNetwork`. `scale` multiplies the widths; the auxiliary classifier reads the map at 1/8.

    Source: sections 3.3 and 4.2, github.com/sacmehta/ESPNetv2, without the stage at 1/32 that only classifies.
    """

    aux_weights = (1.0,)

    def __init__(self, scale: float, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        base = math.ceil(32 * scale / BRANCHES) * BRANCHES
        first, second, third, fourth = min(32, base), 2 * base, 4 * base, 8 * base
        dropout = 0.1 if scale <= 0.5 else 0.2
        self.level1 = conv_prelu(3, first, 3, stride=2)
        self.level2 = Down(first, second)
        self.down3 = Down(second, third)
        self.level3 = nn.Sequential(*(Block(third, FAR) for _ in range(3)))
        self.down4 = Down(third, fourth)
        self.level4 = nn.Sequential(*(Block(fourth, NEAR) for _ in range(7)))
        self.narrow4 = conv_prelu(fourth, third)
        self.merge3 = nn.Sequential(Eesp(2 * third, third, NEAR), Prelu(third), DepthwisePyramid(third))
        self.classify3 = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(third, num_classes, 1, bias=False))
        self.act3 = norm_prelu(num_classes)
        self.merge2 = conv_prelu(second + num_classes, num_classes)
        self.merge1 = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(first + num_classes, num_classes, 1, bias=False))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> SemanticOutput:
        quarter = _pool(_pool(images))
        eighth = _pool(quarter)
        l1 = self.level1(images)  # [B, 32, H/2, W/2]
        l2 = self.level2(l1, quarter)  # [B, 64, H/4, W/4]
        l3 = self.level3(self.down3(l2, eighth))  # [B, 128, H/8, W/8]
        l4 = self.level4(self.down4(l3, _pool(eighth)))  # [B, 256, H/16, W/16]
        coarse = self.classify3(self.merge3(torch.cat([l3, resize(self.narrow4(l4), l3)], dim=1)))
        x = self.merge2(torch.cat([l2, resize(self.act3(coarse), l2)], dim=1))
        out = self.merge1(torch.cat([l1, resize(x, l1)], dim=1))  # [B, C, H/2, W/2]
        return SemanticOutput(self.enlarge(out, images), (coarse,) if self.training else ())


BUILDERS = {name: partial(ESPNetv2, scale) for name, scale in SCALES.items()}
