"""Xception-65 (Chollet, CVPR 2017) as DeepLabv3+ changed it: deeper, strided convolutions instead of pools, dilated."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm, separable

MIDDLE_BLOCKS = 16


class Block(nn.Module):
    """Three separable convolutions, a ReLU before each, beside a shortcut; the last has the stride.

    `forward` returns the sum, and what the second convolution gave: the finest map of a block that shrinks.
    """

    def __init__(self, widths: tuple[int, int, int, int], *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        channels, *outs = widths
        self.convolutions = nn.ModuleList()
        for i, (before, out) in enumerate(zip(widths, outs, strict=False)):
            self.convolutions.append(_rectified(before, out, stride=stride if i == 2 else 1, dilation=dilation))
        same = stride == 1 and channels == outs[-1]
        self.shortcut = nn.Identity() if same else conv_norm(channels, outs[-1], stride=stride, relu=None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second, third = self.convolutions
        fine = second(first(x))
        return third(fine) + self.shortcut(x), fine


def _rectified(channels: int, out: int, *, stride: int, dilation: int) -> nn.Sequential:
    """Return ReLU, depthwise 3x3 and pointwise convolution, both normalised. The ReLU must leave the shortcut alone."""
    depthwise = conv_norm(channels, channels, 3, stride=stride, dilation=dilation, groups=channels, relu=None)
    return nn.Sequential(nn.ReLU(), depthwise, conv_norm(channels, out, relu=None))


class Maps(NamedTuple):
    """What Xception makes of `[B, 3, H, W]`, at an output stride of S."""

    first: Tensor  # [B, 128, H/4, W/4], rectified: what the first block gave
    second: Tensor  # [B, 256, H/4, W/4], inside the second block, before its stride
    middle: Tensor  # [B, 728, H/S, W/S]
    last: Tensor  # [B, 2048, H/S, W/S]


class Xception65(nn.Module):
    """Source: Chen et al. 2018, figure 4, with activations where the published code and weights have them."""

    out_channels = (128, 256, 728, 2048)  # of `Maps`

    def __init__(self, *, output_stride: Literal[8, 16]) -> None:
        super().__init__()
        stride, middle, (last, final) = {8: (1, 2, (2, 4)), 16: (2, 1, (1, 2))}[output_stride]
        self.stem = nn.Sequential(conv_norm(3, 32, 3, stride=2), conv_norm(32, 64, 3))
        self.entry = nn.ModuleList(
            [
                Block((64, 128, 128, 128), stride=2),
                Block((128, 256, 256, 256), stride=2),
                Block((256, 728, 728, 728), stride=stride),
            ]
        )
        self.middle = nn.ModuleList(Block((728, 728, 728, 728), dilation=middle) for _ in range(MIDDLE_BLOCKS))
        self.exit = Block((728, 728, 1024, 1024), dilation=last)
        self.final = nn.Sequential(
            *(
                separable(channels, out, dilation=final, depthwise_relu=True)
                for channels, out in ((1024, 1536), (1536, 1536), (1536, 2048))
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Maps:
        first, second, third = self.entry
        x, _ = first(self.stem(images))
        low = x.relu()
        x, fine = second(x)
        x, _ = third(x)
        for block in self.middle:
            x, _ = block(x)
        last, _ = self.exit(x)
        return Maps(low, fine, x, self.final(last))
