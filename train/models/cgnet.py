"""CGNet (Wu et al., TIP 2021): half a million parameters; each block sees a pixel, its surroundings and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_prelu, norm_prelu
from solo_rt.train.models.parts.depthwise import Depthwise
from solo_rt.train.models.parts.pooling import picture_mean
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput


@dataclass(frozen=True, slots=True)
class CgnetConfig:
    """In what the forms differ; the defaults are those of Tramac's code base, which resizes as other networks do."""

    norm_eps: float = 1e-5
    dropout: float = 0.1
    classifier_bias: bool = True
    align_corners: bool = True


VARIANTS = {
    "cgnet": CgnetConfig(),
    # github.com/wutianyiRosun/CGNet, the authors' own.
    "cgnet-official": CgnetConfig(norm_eps=1e-3, dropout=0.0, classifier_bias=False, align_corners=False),
}


class Surroundings(nn.Module):
    """A depthwise 3x3 for the pixel and a dilated one for what is around it, side by side: twice the channels."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.near = Depthwise(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.far = Depthwise(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
        self.joint = norm_prelu(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.joint(torch.cat([self.near(x), self.far(x)], dim=1))
        return y


class Gate(nn.Module):
    """Each channel multiplied by a number in (0, 1) that depends on the means over the picture."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(picture_mean(x)).sigmoid()
        return x * gate


def _down(channels: int, out: int, *, dilation: int, reduction: int) -> nn.Sequential:
    """Return the block that halves the size; it has no shortcut."""
    return nn.Sequential(
        conv_prelu(channels, out, 3, stride=2),
        Surroundings(out, dilation),
        nn.Conv2d(2 * out, out, 1, bias=False),
        Gate(out, reduction),
    )


class ContextGuided(nn.Module):
    """Half the channels, their surroundings, the gate, and the input added (the paper's global residual learning)."""

    def __init__(self, channels: int, *, dilation: int, reduction: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            conv_prelu(channels, channels // 2), Surroundings(channels // 2, dilation), Gate(channels, reduction)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y


class CGNet(SemanticNetwork):
    """See `SemanticNetwork`. M = 3 blocks at 1/4 and N = 21 at 1/8; there are no auxiliary classifiers."""

    def __init__(self, config: CgnetConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.stem = nn.Sequential(conv_prelu(3, 32, 3, stride=2), conv_prelu(32, 32, 3), conv_prelu(32, 32, 3))
        self.join1 = norm_prelu(32 + 3)
        self.down2 = _down(32 + 3, 64, dilation=2, reduction=8)
        self.stage2 = nn.Sequential(*(ContextGuided(64, dilation=2, reduction=8) for _ in range(2)))
        self.join2 = norm_prelu(2 * 64 + 3)
        self.down3 = _down(2 * 64 + 3, 128, dilation=4, reduction=16)
        self.stage3 = nn.Sequential(*(ContextGuided(128, dilation=4, reduction=16) for _ in range(20)))
        self.join3 = norm_prelu(2 * 128)
        self.classifier = nn.Sequential(
            nn.Dropout2d(config.dropout), nn.Conv2d(2 * 128, num_classes, 1, bias=config.classifier_bias)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.eps = config.norm_eps

    def forward(self, images: Tensor) -> SemanticOutput:
        half = F.avg_pool2d(images, 3, 2, 1)
        quarter = F.avg_pool2d(half, 3, 2, 1)
        x = self.join1(torch.cat([self.stem(images), half], dim=1))  # [B, 35, H/2, W/2]
        first = self.down2(x)
        x = self.join2(torch.cat([self.stage2(first), first, quarter], dim=1))  # [B, 131, H/4, W/4]
        first = self.down3(x)
        x = self.join3(torch.cat([first, self.stage3(first)], dim=1))  # [B, 256, H/8, W/8]
        return SemanticOutput(self.enlarge(self.classifier(x), images, align_corners=self.config.align_corners))


BUILDERS = {name: partial(CGNet, config) for name, config in VARIANTS.items()}
