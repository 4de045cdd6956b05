"""ResNet and ResNeXt backbones with torchvision's parameter names, and the slim variant of the real-time preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from solo_rt.train.models.parts.batch_norm import norm_act
from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.deform_conv import DeformConv2d, make_conv

DeformVersion = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """The numbers of one backbone.

    `stem="classic"` is the 7x7 convolution with max-pooling of the paper. `stem="slim"` is one 3x3 convolution of
    half the first width, the second halving left to the first stage: a third of the work at small widths.
    `stem="deep"` is three 3x3 convolutions of 64, 64 and 128 channels in place of the 7x7 (PyTorch-Encoding's "s").
    `stride_on` is which convolution of a bottleneck halves the size: the 3x3 as in torchvision, or the first 1x1 as in
    the original Caffe models, whose weights need it there.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem: Literal["classic", "slim", "deep"] = "classic"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    groups: int = 1  # of the 3x3 of a bottleneck; with it, that is `group_width / 64 * groups` times as wide (ResNeXt)
    group_width: int = 64
    deform: DeformVersion | None = None  # deformable 3x3 convolutions in stages 2 to 4, bottlenecks only


BACKBONES = {
    "r18": ResNetConfig("basic", (2, 2, 2, 2)),
    "r34": ResNetConfig("basic", (3, 4, 6, 3)),
    "r50": ResNetConfig("bottleneck", (3, 4, 6, 3)),
    "r101": ResNetConfig("bottleneck", (3, 4, 23, 3)),
    "x101": ResNetConfig("bottleneck", (3, 4, 23, 3), groups=64, group_width=4),  # ResNeXt-101 64x4d
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, figure 5 left)."""

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = norm_act(self.bn1, self.relu, self.conv1(x))
        y = norm_act(self.bn2, None, self.conv2(y))
        return self.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut (figure 5 right); `inner` is the width of the 3x3."""

    def __init__(
        self, channels: int, width: int, *, stride: int, config: ResNetConfig, deform: DeformVersion | None
    ) -> None:
        super().__init__()
        inner = width * config.group_width // 64 * config.groups
        first, second = (stride, 1) if config.stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(channels, inner, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = make_conv(inner, inner, 3, stride=second, groups=config.groups, deform=deform)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = norm_act(self.bn1, self.relu, self.conv1(x))
        y = norm_act(self.bn2, self.relu, self.conv2(y))
        y = norm_act(self.bn3, None, self.conv3(y))
        return self.relu(y + self.downsample(x))


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class ResNet(nn.Module):
    """Four stages at strides 4, 8, 16 and 32; `forward` returns their outputs C2..C5."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        slim = config.stem == "slim"
        channels = {"classic": 64, "slim": config.widths[0] // 2, "deep": 128}[config.stem]
        self.conv1: nn.Module
        if config.stem == "deep":
            self.conv1 = nn.Sequential(
                *conv_norm(3, 64, 3, stride=2), *conv_norm(64, 64, 3), Conv2d(64, channels, 3, 1, 1, bias=False)
            )
        else:
            self.conv1 = nn.Conv2d(3, channels, 3 if slim else 7, 2, 1 if slim else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if slim else nn.MaxPool2d(3, 2, 1)
        stages, outs = [], []
        for i, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            blocks: list[nn.Module] = []
            for j in range(depth):
                stride = 2 if j == 0 and (i > 0 or slim) else 1
                if config.block == "basic":
                    blocks.append(BasicBlock(channels, width, stride=stride))
                    channels = width
                else:
                    deform = config.deform if i > 0 else None
                    blocks.append(Bottleneck(channels, width, stride=stride, config=config, deform=deform))
                    channels = 4 * width
            stages.append(nn.Sequential(*blocks))
            outs.append(channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_channels = tuple(outs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | DeformConv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, DeformConv2d):
                module.reset_offsets()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        c2 = self.layer1(self.stem(x))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)

    def stem(self, x: Tensor) -> Tensor:
        """Return what the first stage gets: `[B, 64, H/4, W/4]` with the classic stem."""
        y: Tensor = self.maxpool(norm_act(self.bn1, self.relu, self.conv1(x)))
        return y
