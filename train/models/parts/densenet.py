"""DenseNet (Huang et al., CVPR 2017) at stride 8, without its classifier, with torchvision's parameter names."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.dilated_resnet import dilate

BOTTLENECK = 4  # the 3x3 of a layer reads so many times the channels that it adds


@dataclass(frozen=True, slots=True)
class DenseNetConfig:
    """The numbers of one backbone."""

    growth: int  # channels that each layer adds
    depths: tuple[int, int, int, int]  # layers of each block
    width: int  # of the stem


BACKBONES = {
    "d121": DenseNetConfig(32, (6, 12, 24, 16), 64),
    "d161": DenseNetConfig(48, (6, 12, 36, 24), 96),
}


class DenseLayer(nn.Module):
    """What came before, and beside it `growth` channels made of all of it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        return torch.cat([x, y], dim=1)  # [B, channels + growth, H, W]


class DenseNet(nn.Module):
    """`forward` returns what the last normalisation gives, not rectified: `[B, out_channels, H/8, W/8]`.

    The pools behind the second and the third block are left out and later 3x3 convolutions dilated instead, as in all
    published weights for segmentation (DenseASPP, Yang et al. 2018, section 3).
    """

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__()
        channels = config.width
        features: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for number, depth in enumerate(config.depths, 1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for layer in range(1, depth + 1):
                layers[f"denselayer{layer}"] = DenseLayer(channels, config.growth)
                channels += config.growth
            features[f"denseblock{number}"] = nn.Sequential(layers)
            if number < len(config.depths):
                features[f"transition{number}"] = _transition(channels, pooled=number == 1)
                channels //= 2
        features["norm5"] = nn.BatchNorm2d(channels)
        dilate(features["denseblock3"], features["denseblock4"])
        self.features = nn.Sequential(features)
        self.out_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.features(images)
        return x


def _transition(channels: int, *, pooled: bool) -> nn.Sequential:
    """Return what halves the channels between two blocks, and, if `pooled`, height and width."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
    )
    if pooled:
        layers["pool"] = nn.AvgPool2d(2)
    return nn.Sequential(layers)
