"""LEDNet (Wang et al., ICIP 2019): halves of the channels in turn, shuffled, and attention from a thin pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.pooling import picture_mean
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

NORM_EPS = 1e-3  # of batch normalisation
DILATIONS = (1, 2, 5, 9, 2, 5, 9, 17)  # of the blocks at 1/8


class Down(nn.Module):
    """Half the size: a 3x3 of stride 2 beside a max-pool, normalised together."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out - channels, 3, 2, 1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # as large as what the convolution makes of an odd side
        self.norm = nn.BatchNorm2d(out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(torch.cat([self.conv(x), self.pool(x)], dim=1)))
        return y


class SplitShuffle(nn.Module):
    """Each half of the channels through 3x1 and 1x3 convolutions, in turn, the input added, halves interleaved.

    The second half has the two in the other order (the paper's split-shuffle-non-bottleneck).
    """

    def __init__(self, channels: int, dilation: int, *, dropout: float) -> None:
        super().__init__()

        def half(*, tall_first: bool) -> nn.Sequential:
            width, layers = channels // 2, list[nn.Module]()
            for d in (1, dilation):
                pair = [
                    nn.Conv2d(width, width, (3, 1), padding=(d, 0), dilation=(d, 1)),
                    nn.Conv2d(width, width, (1, 3), padding=(0, d), dilation=(1, d)),
                ]
                first, second = pair if tall_first else pair[::-1]
                layers += [first, nn.ReLU(inplace=True), second, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers[:-1], nn.Dropout2d(dropout))

        self.first = half(tall_first=True)
        self.second = half(tall_first=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        y: Tensor = self.act(x + torch.cat([self.first(first), self.second(second)], dim=1))
        return y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)  # channels 0, C/2, 1, C/2 + 1, ...


class AttentionPyramid(nn.Module):
    """Logits times a map of one channel seen at three scales, plus logits of the picture as a whole.

    Each has a ReLU behind it, as in the authors' code, so that no logit is below zero.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.picture = conv_norm(channels, num_classes, bias=True)
        self.middle = conv_norm(channels, num_classes, bias=True)
        self.down1 = conv_norm(channels, 1, 7, stride=2, bias=True)
        self.down2 = conv_norm(1, 1, 5, stride=2, bias=True)
        self.down3 = nn.Sequential(conv_norm(1, 1, 3, stride=2, bias=True), conv_norm(1, 1, 3, bias=True))
        self.side2 = conv_norm(1, 1, 5, bias=True)
        self.side1 = conv_norm(1, 1, 7, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down1(x)
        quarter = self.down2(half)
        attention = self.side2(quarter) + resize(self.down3(quarter), quarter)
        attention = self.side1(half) + resize(attention, half)  # [B, 1, h/2, w/2]
        logits: Tensor = self.middle(x) * resize(attention, x) + self.picture(picture_mean(x))
        return logits  # [B, C, h, w]


class LEDNet(SemanticNetwork):
    """See `SemanticNetwork`. There are no auxiliary classifiers.

    Source: github.com/xiaoyufenfei/LEDNet, except that its max-pools pad and this one's take what an odd side leaves.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = nn.Sequential(
            Down(3, 32),
            *(SplitShuffle(32, 1, dropout=0.03) for _ in range(3)),
            Down(32, 64),
            *(SplitShuffle(64, 1, dropout=0.03) for _ in range(2)),
            Down(64, 128),
            *(SplitShuffle(128, dilation, dropout=0.3) for dilation in DILATIONS),
        )
        self.decoder = AttentionPyramid(128, num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = NORM_EPS

    def forward(self, images: Tensor) -> SemanticOutput:
        return SemanticOutput(self.enlarge(self.decoder(self.encoder(images)), images))


BUILDERS = {"lednet": LEDNet}
