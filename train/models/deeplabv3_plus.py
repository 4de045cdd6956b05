"""DeepLabv3+ (Chen et al., ECCV 2018): DeepLabv3 on Xception-65, refined once by a map at stride 4."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.aspp import WIDTH, Aspp
from solo_rt.train.models.parts.convolution import conv_norm, pixel_classifier, separable
from solo_rt.train.models.parts.xception import Xception65
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

LOW_WIDTH = 48  # so that the fine map does not outweigh the deep one
DILATIONS: dict[Literal[8, 16], tuple[int, ...]] = {8: (12, 24, 36), 16: (6, 12, 18)}


@dataclass(frozen=True, slots=True)
class DeepLabPlusConfig:
    """In what the forms differ; the defaults are the paper's, which SegmenTron's weights for Cityscapes have too."""

    output_stride: Literal[8, 16] = 16
    depthwise: bool = True  # separable convolutions in the pyramid and in the decoder
    low: Literal["first", "second"] = "second"  # which map of Xception at stride 4 is read
    low_kernel: int = 1
    epsilon: float = 1e-3  # of the backbone's batch normalisation


VARIANTS = {
    "deeplabv3-plus-x65": DeepLabPlusConfig(),
    "deeplabv3-plus-x65-tramac": DeepLabPlusConfig(
        output_stride=8, depthwise=False, low="first", low_kernel=3, epsilon=1e-5
    ),
}


class DeepLabPlus(SemanticNetwork):
    """See `SemanticNetwork`. The auxiliary classifier reads the middle flow."""

    aux_weights = (0.4,)

    def __init__(self, config: DeepLabPlusConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.backbone = Xception65(output_stride=config.output_stride)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = config.epsilon
        _, _, middle, last = Xception65.out_channels
        self.aspp = Aspp(last, DILATIONS[config.output_stride], depthwise=config.depthwise)
        self.low = conv_norm({"first": 128, "second": 256}[config.low], LOW_WIDTH, config.low_kernel)
        mix = partial(separable, depthwise_relu=True) if config.depthwise else partial(conv_norm, kernel=3)
        self.decoder = nn.Sequential(
            mix(WIDTH + LOW_WIDTH, WIDTH),
            nn.Dropout(0.5),
            mix(WIDTH, WIDTH),
            nn.Dropout(0.1),
            nn.Conv2d(WIDTH, num_classes, 1),
        )
        self.aux = pixel_classifier(middle, middle // 4, num_classes)

    def forward(self, images: Tensor) -> SemanticOutput:
        maps = self.backbone(images)
        low = self.low(maps.first if self.config.low == "first" else maps.second)  # [B, 48, H/4, W/4]
        deep = resize(self.aspp(maps.last), low)
        out = self.enlarge(self.decoder(torch.cat([deep, low], dim=1)), images)
        return SemanticOutput(out, (self.aux(maps.middle),) if self.training else ())


BUILDERS = {name: partial(DeepLabPlus, config) for name, config in VARIANTS.items()}
