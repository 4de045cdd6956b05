"""What networks are made of: convolution, normalisation and activation in the usual orders."""

from __future__ import annotations

from torch import Tensor, nn

from solo_rt.train.models.parts.batch_norm import is_fusible, norm_act
from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.depthwise import Depthwise


class Layers(nn.Sequential):
    """One layer after another; while learning on a CPU batch normalisation and the activation behind it are one."""

    def forward(self, x: Tensor) -> Tensor:
        layers = [*self]
        while layers:
            layer, *layers = layers
            act = layers.pop(0) if layers and is_fusible(layers[0]) else None
            x = norm_act(layer, act, x)
        return x


def conv_norm(
    channels: int, out: int, kernel: int = 1, *, stride: int = 1, padding: int | None = None, groups: int = 1,
    dilation: int = 1, bias: bool = False, relu: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:  # fmt: skip
    """Return convolution, batch normalisation and, unless None, an activation; without `padding` sizes stay."""
    padding = dilation * (kernel // 2) if padding is None else padding
    kind = Depthwise if groups == channels == out > 1 else Conv2d
    conv = kind(channels, out, kernel, stride, padding, dilation, groups, bias)
    return Layers(conv, nn.BatchNorm2d(out), *([relu(inplace=True)] if relu else []))  # type: ignore[call-arg]


def conv_prelu(channels: int, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and a PReLU with a slope for each channel; `stride` alone sets sizes."""
    layers = conv_norm(channels, out, kernel, stride=stride, groups=groups, relu=None)
    return Layers(*layers, nn.PReLU(out))


def norm_prelu(channels: int) -> nn.Sequential:
    """Return batch normalisation and a PReLU with a slope for each channel, for maps put side by side."""
    return Layers(nn.BatchNorm2d(channels), nn.PReLU(channels))


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
