"""BiSeNet (Yu et al., ECCV 2018): a shallow path for detail, a ResNet-18 for context, and both fused at 1/8."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.pooling import picture_mean
from solo_rt.train.models.parts.resnet import BACKBONES, ResNet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

WIDTH = 128  # of either path


@dataclass(frozen=True, slots=True)
class BiSeNetConfig:
    """In what the forms differ; the defaults are the paper's."""

    gate_relu: bool = False  # a ReLU before the sigmoid of a gate, which then can close by half only
    fusion_gate: Literal["two", "two normalised", "one normalised"] = "two"  # convolutions in the gate of the fusion
    nearest: bool = False  # the context path is enlarged by repeating pixels
    align_corners: bool = True  # of logits as they are enlarged
    head_width: int = 64
    aux_width: int = 256
    dropout: float = 0.1
    aux_weights: tuple[float, float] = (1.0, 1.0)


VARIANTS = {
    "bisenet-r18": BiSeNetConfig(),
    "bisenet-r18-tramac": BiSeNetConfig(gate_relu=True, fusion_gate="two normalised", aux_weights=(0.4, 0.4)),
    # github.com/CoinCheung/BiSeNet since July 2021, with the weights that it publishes.
    "bisenet-r18-coincheung": BiSeNetConfig(
        fusion_gate="one normalised", nearest=True, align_corners=False, head_width=256, aux_width=64, dropout=0.0
    ),
}


class Refinement(nn.Module):
    """A map brought to `WIDTH` channels, each multiplied by a gate made from the mean of the picture (section 3.2)."""

    def __init__(self, channels: int, *, gate_relu: bool) -> None:
        super().__init__()
        self.conv = conv_norm(channels, WIDTH, 3)
        self.gate = conv_norm(WIDTH, WIDTH, relu=nn.ReLU if gate_relu else None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate: Tensor = self.gate(picture_mean(x)).sigmoid()
        return x * gate


class Fusion(nn.Module):
    """Both paths side by side, mixed, and each channel raised by a gate between none and one time (section 3.3)."""

    def __init__(self, config: BiSeNetConfig) -> None:
        super().__init__()
        channels = 2 * WIDTH
        self.mix = conv_norm(channels, channels)
        last_relu = nn.ReLU if config.gate_relu else None
        self.gate: nn.Sequential
        if config.fusion_gate == "one normalised":
            self.gate = conv_norm(channels, channels, relu=last_relu)
        elif config.fusion_gate == "two normalised":
            last = conv_norm(channels // 4, channels, relu=last_relu)
            self.gate = nn.Sequential(conv_norm(channels, channels // 4), last)
        else:
            self.gate = nn.Sequential(
                nn.Conv2d(channels, channels // 4, 1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels // 4, channels, 1, bias=False),
            )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.mix(torch.cat([spatial, context], dim=1))
        gate: Tensor = self.gate(picture_mean(x)).sigmoid()
        return x + x * gate


class BiSeNet(SemanticNetwork):
    """See `SemanticNetwork`. `backbone` is the ResNet; the spatial path is no part of it, as it is learnt from nothing.

    Auxiliary classifiers read the context path at 1/16 and at 1/8.
    """

    def __init__(self, config: BiSeNetConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.aux_weights = config, num_classes, config.aux_weights
        self.backbone = ResNet(BACKBONES["r18"])
        *_, c4, c5 = self.backbone.out_channels
        self.spatial = nn.Sequential(
            conv_norm(3, 64, 7, stride=2),
            conv_norm(64, 64, 3, stride=2),
            conv_norm(64, 64, 3, stride=2),
            conv_norm(64, WIDTH),
        )
        self.picture = conv_norm(c5, WIDTH)
        self.refine5 = Refinement(c5, gate_relu=config.gate_relu)
        self.refine4 = Refinement(c4, gate_relu=config.gate_relu)
        self.smooth5 = conv_norm(WIDTH, WIDTH, 3)
        self.smooth4 = conv_norm(WIDTH, WIDTH, 3)
        self.fusion = Fusion(config)

        def classifier(channels: int, width: int) -> nn.Sequential:
            logits = nn.Conv2d(width, num_classes, 1)
            return nn.Sequential(conv_norm(channels, width, 3), nn.Dropout(config.dropout), logits)

        self.head = classifier(2 * WIDTH, config.head_width)
        self.aux = nn.ModuleList(classifier(WIDTH, config.aux_width) for _ in range(2))

    def forward(self, images: Tensor) -> SemanticOutput:
        _, c3, c4, c5 = self.backbone(images)  # strides 4, 8, 16, 32
        picture = self.picture(picture_mean(c5))  # [B, 128, 1, 1]
        context16 = self.smooth5(self._match(self.refine5(c5) + picture, c4))
        context8 = self.smooth4(self._match(self.refine4(c4) + context16, c3))
        coarse = self.head(self.fusion(self.spatial(images), context8))
        out = self.enlarge(coarse, images, align_corners=self.config.align_corners)
        if not self.training:
            return SemanticOutput(out)
        return SemanticOutput(out, (self.aux[0](context16), self.aux[1](context8)))

    def _match(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[-2:]) if self.config.nearest else resize(x, like)


BUILDERS = {name: partial(BiSeNet, config) for name, config in VARIANTS.items()}
