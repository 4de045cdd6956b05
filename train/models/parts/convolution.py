"""What networks are made of: convolution, normalisation and activation in the usual orders."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Depthwise(nn.Conv2d):
    """A convolution with as many groups as channels.

    With weights in float32 it stays so under autocast on a CPU: its gradient takes two to three times as long in
    bfloat16 there.
    """

    def forward(self, x: Tensor) -> Tensor:
        is_whole = x.device.type == "cpu" and self.weight.dtype == torch.float32
        if not is_whole or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def conv_norm(
    channels: int, out: int, kernel: int = 1, *, stride: int = 1, padding: int | None = None, groups: int = 1,
    dilation: int = 1, bias: bool = False, relu: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:  # fmt: skip
    """Return convolution, batch normalisation and, unless None, an activation; without `padding` sizes stay."""
    padding = dilation * (kernel // 2) if padding is None else padding
    kind = Depthwise if groups == channels == out > 1 else nn.Conv2d
    conv = kind(channels, out, kernel, stride, padding, dilation, groups, bias)
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([relu(inplace=True)] if relu else []))  # type: ignore[call-arg]


def conv_prelu(channels: int, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and a PReLU with a slope for each channel; `stride` alone sets sizes."""
    layers = conv_norm(channels, out, kernel, stride=stride, groups=groups, relu=None)
    return nn.Sequential(*layers, nn.PReLU(out))


def norm_prelu(channels: int) -> nn.Sequential:
    """Return batch normalisation and a PReLU with a slope for each channel, for maps put side by side."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def separable(
    channels: int, out: int, *, stride: int = 1, dilation: int = 1, depthwise_relu: bool = False
) -> nn.Sequential:
    """Return a depthwise 3x3 and a pointwise convolution, both normalised, with a ReLU behind the second."""
    first = conv_norm(
        channels,
        channels,
        3,
        stride=stride,
        dilation=dilation,
        groups=channels,
        relu=nn.ReLU if depthwise_relu else None,
    )
    return nn.Sequential(first, conv_norm(channels, out))


def pixel_classifier(channels: int, width: int, num_classes: int, *, dropout: float = 0.1) -> nn.Sequential:
    """Return a 3x3 convolution to `width`, normalised, dropout, and one logit per class and pixel.

    With a `width` of a quarter of the channels it is the head of an FCN, which most auxiliary classifiers are too.
    """
    return nn.Sequential(conv_norm(channels, width, 3), nn.Dropout(dropout), nn.Conv2d(width, num_classes, 1))
