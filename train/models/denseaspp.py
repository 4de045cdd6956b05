"""DenseASPP (Yang et al., CVPR 2018): dilated convolutions one behind the other, each reading all before it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.convolution import conv_norm, pixel_classifier
from solo_rt.train.models.parts.densenet import BACKBONES, DenseNet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

DILATIONS = (3, 6, 12, 18, 24)
DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class DenseAsppConfig:
    """In what the forms differ; the defaults are those of github.com/DeepMotionAIResearch/DenseASPP, by the authors."""

    backbone: str
    inner: int  # channels that a dilated convolution reads
    growth: int  # channels that it adds
    halved: bool = True  # the channels of the backbone are, before anything reads them
    preactivated: bool = True  # a stage starts with normalisation and ends with a convolution, not the other way round
    aux_weights: tuple[float, ...] = ()  # of one classifier on the backbone, or of none


VARIANTS = {
    "denseaspp-d121": DenseAsppConfig("d121", 128, 64),
    "denseaspp-d161": DenseAsppConfig("d161", 512, 128),
    "denseaspp-d121-tramac": DenseAsppConfig("d121", 256, 64, halved=False, preactivated=False, aux_weights=(0.4,)),
    "denseaspp-d161-tramac": DenseAsppConfig("d161", 256, 64, halved=False, preactivated=False, aux_weights=(0.4,)),
}


class DenseAspp(SemanticNetwork):
    """See `SemanticNetwork`. The backbone and five stages, each of which adds channels to all that it reads."""

    def __init__(self, config: DenseAsppConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.aux_weights = config, num_classes, config.aux_weights
        self.backbone = DenseNet(BACKBONES[config.backbone])
        channels = self.backbone.out_channels
        self.aux = nn.ModuleList(pixel_classifier(channels, channels // 4, num_classes) for _ in config.aux_weights)
        self.halve: nn.Module = nn.Identity()
        if config.halved:
            self.halve = nn.Sequential(nn.ReLU(), *conv_norm(channels, channels // 2))
            channels //= 2
        self.stages = nn.ModuleList()
        for dilation in DILATIONS:
            self.stages.append(_stage(channels, config, dilation, rectified=config.halved and dilation == DILATIONS[0]))
            channels += config.growth
        self.classifier = nn.Sequential(nn.Dropout2d(DROPOUT), nn.Conv2d(channels, num_classes, 1))

    def forward(self, images: Tensor) -> SemanticOutput:
        features = self.backbone(images)  # [B, C, H/8, W/8]
        x = self.halve(features)
        for stage in self.stages:
            x = torch.cat([stage(x), x], dim=1)
        out = self.enlarge(self.classifier(x), images)
        return SemanticOutput(out, tuple(aux(features) for aux in self.aux) if self.training else ())


def _stage(channels: int, config: DenseAsppConfig, dilation: int, *, rectified: bool) -> nn.Sequential:
    """Return a 1x1 and a dilated 3x3 convolution; what is `rectified` needs no normalisation and ReLU in front.

    Biases before a normalisation do nothing; published weights have them.
    """
    reduce = conv_norm(channels, config.inner, bias=True)
    if not config.preactivated:
        spread = conv_norm(config.inner, config.growth, 3, dilation=dilation, bias=True)
        return nn.Sequential(reduce, spread, nn.Dropout2d(DROPOUT))
    front = [] if rectified else [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    last = Conv2d(config.inner, config.growth, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(*front, reduce, last, nn.Dropout2d(DROPOUT))


BUILDERS = {name: partial(DenseAspp, config) for name, config in VARIANTS.items()}
