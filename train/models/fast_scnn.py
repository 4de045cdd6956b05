"""Fast-SCNN (Poudel et al., BMVC 2019): one short path down, a deep branch on the way, and both fused at 1/8.

Trained PyTorch forms of it differ from the paper and from each other in details that their weights depend on, so the
details are switches and each form is a row of `VARIANTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import Layers, conv_norm, pixel_classifier, separable
from solo_rt.train.models.parts.pooling import PyramidPooling
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

STAGES = ((64, 2), (96, 2), (128, 1))  # width and stride of the three stages of the deep branch
EXPANSION = 6
BLOCKS = 3  # per stage
WIDTH = 128


@dataclass(frozen=True, slots=True)
class FastScnnConfig:
    """In what the forms differ; the defaults are the paper's, with batch normalisation in the fusion."""

    stem_padding: int = 1
    depthwise_relu: bool = False  # a ReLU between the depthwise and the pointwise half of a separable convolution
    bottleneck: Literal["relu", "relu6"] = "relu"
    fusion_dilation: int = 4
    fusion_depthwise: bool = True  # of the deep branch, before the two are added; else a plain 1x1
    fusion_norm: bool = True  # after the two 1x1 of the fusion, which then have a bias only where `fusion_bias`
    fusion_bias: bool = False
    aux: tuple[Literal["shallow", "deep"], ...] = ("shallow", "deep")  # where further classifiers sit, while training


VARIANTS = {
    "fast-scnn": FastScnnConfig(),
    "fast-scnn-tramac": FastScnnConfig(
        stem_padding=0, depthwise_relu=True, fusion_dilation=1, fusion_bias=True, aux=("shallow",)
    ),
    "fast-scnn-leftthomas": FastScnnConfig(fusion_norm=False, fusion_bias=True, aux=()),
    "fast-scnn-segmentron": FastScnnConfig(
        stem_padding=0, depthwise_relu=True, bottleneck="relu6", fusion_depthwise=False, fusion_bias=True
    ),
}


class Bottleneck(nn.Module):
    """Inverted residual: wide in the middle, the sum only where size and width stay (MobileNetV2, section 3)."""

    def __init__(self, channels: int, out: int, *, stride: int, relu: type[nn.Module]) -> None:
        super().__init__()
        wide = channels * EXPANSION
        self.adds = stride == 1 and channels == out
        self.block = nn.Sequential(
            conv_norm(channels, wide, relu=relu),
            conv_norm(wide, wide, 3, stride=stride, groups=wide, relu=relu),
            conv_norm(wide, out, relu=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class Fusion(nn.Module):
    """The deep branch brought to the size of the shallow one and added to it."""

    def __init__(self, config: FastScnnConfig) -> None:
        super().__init__()

        def mix(channels: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, WIDTH, 1, bias=config.fusion_bias)
            return Layers(conv, *([nn.BatchNorm2d(WIDTH)] if config.fusion_norm else []))

        dilation = config.fusion_dilation
        self.depthwise = (
            conv_norm(WIDTH, WIDTH, 3, groups=WIDTH, dilation=dilation)
            if config.fusion_depthwise
            else conv_norm(WIDTH, WIDTH)
        )
        self.deep = mix(WIDTH)
        self.shallow = mix(64)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        return F.relu(self.shallow(shallow) + self.deep(self.depthwise(resize(deep, shallow))))


class FastScnn(SemanticNetwork):
    """See `SemanticNetwork`. The output has the size of the input; inside it is made at 1/8."""

    size_divisor = 32

    def __init__(self, config: FastScnnConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.aux_weights = (0.4,) * len(config.aux)
        relu: type[nn.Module] = nn.ReLU if config.bottleneck == "relu" else nn.ReLU6
        dsconv = partial(separable, depthwise_relu=config.depthwise_relu)
        self.shallow = nn.Sequential(
            conv_norm(3, 32, 3, stride=2, padding=config.stem_padding),
            dsconv(32, 48, stride=2),
            dsconv(48, 64, stride=2),
        )
        blocks, channels = [], 64
        for width, stride in STAGES:
            for i in range(BLOCKS):
                blocks.append(Bottleneck(channels, width, stride=stride if i == 0 else 1, relu=relu))
                channels = width
        self.deep = nn.Sequential(*blocks, PyramidPooling(channels, WIDTH))
        self.fusion = Fusion(config)
        self.classifier = nn.Sequential(
            dsconv(WIDTH, WIDTH), dsconv(WIDTH, WIDTH), nn.Dropout(0.1), nn.Conv2d(WIDTH, num_classes, 1)
        )
        widths = {"shallow": 64, "deep": WIDTH}
        self.aux = nn.ModuleList(pixel_classifier(widths[place], 32, num_classes) for place in config.aux)

    def forward(self, images: Tensor) -> SemanticOutput:
        shallow = self.shallow(images)  # [B, 64, H/8, W/8]
        deep = self.deep(shallow)  # [B, 128, H/32, W/32]
        logits = self.enlarge(self.classifier(self.fusion(shallow, deep)), images)
        if not self.training:
            return SemanticOutput(logits)
        places = {"shallow": shallow, "deep": deep}
        aux = (head(places[place]) for place, head in zip(self.config.aux, self.aux, strict=True))
        return SemanticOutput(logits, tuple(aux))


BUILDERS = {name: partial(FastScnn, config) for name, config in VARIANTS.items()}
