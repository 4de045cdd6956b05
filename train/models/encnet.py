"""EncNet (Zhang et al., CVPR 2018): channels gated by what the whole picture is made of, on a dilated ResNet."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from solo_rt.train.models.dilated_network import BACKBONES
from solo_rt.train.models.parts.convolution import conv_norm, pixel_classifier
from solo_rt.train.models.parts.dilated_resnet import dilated_resnet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

WIDTH = 512
CODEWORDS = 32


class Encoding(nn.Module):
    """What pixels have beyond the codeword nearest to each, summed up for each codeword (section 3, equation 1).

    Pixel x belongs to codeword c_k by the softmax over k of s_k |x - c_k|^2; the factors s_k start below zero. Of
    squares and products written out, |x|^2 - 2 x c + |c|^2, nothing is larger than the map itself; the differences
    would be a vector for each pixel and codeword.
    """

    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.factors = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)  # [B, C, N]
        squares = x.square().sum(1, keepdim=True) + self.codewords.square().sum(1)[:, None]  # [B, K, N]
        distances = squares - 2 * (self.codewords @ x)
        shares = (self.factors[:, None] * distances).softmax(1)
        return shares @ x.transpose(1, 2) - shares.sum(2, keepdim=True) * self.codewords  # [B, K, C]


class EncNet(SemanticNetwork):
    """See `SemanticNetwork`. `presence` is made of the encoding, the auxiliary classifier reads C4."""

    aux_weights = (0.4,)

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = dilated_resnet(backbone)
        *_, c4, c5 = self.backbone.out_channels
        self.squeeze = conv_norm(c5, WIDTH, 3)
        self.encoding = nn.Sequential(
            conv_norm(WIDTH, WIDTH), Encoding(WIDTH, CODEWORDS), nn.BatchNorm1d(CODEWORDS), nn.ReLU(inplace=True)
        )
        self.gate = nn.Linear(WIDTH, WIDTH)
        self.presence = nn.Linear(WIDTH, num_classes)
        self.classifier = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(WIDTH, num_classes, 1))
        self.aux = pixel_classifier(c4, c4 // 4, num_classes)

    def forward(self, images: Tensor) -> SemanticOutput:
        *_, c4, c5 = self.backbone(images)  # [B, 1024, H/8, W/8], [B, 2048, H/8, W/8]
        x = self.squeeze(c5)
        encoded = self.encoding(x).mean(1)  # [B, 512]
        gate = self.gate(encoded).sigmoid()[:, :, None, None]
        out = self.enlarge(self.classifier(x + x * gate), images)  # no ReLU between: nothing there is negative
        if not self.training:
            return SemanticOutput(out)
        return SemanticOutput(out, (self.aux(c4),), self.presence(encoded))


BUILDERS = {f"encnet-{backbone}": partial(EncNet, backbone) for backbone in BACKBONES}
