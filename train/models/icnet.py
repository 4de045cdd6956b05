"""ICNet (Zhao et al., ECCV 2018): most layers see a quarter of the picture, few see half of it, three see all of it."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.dilated_resnet import dilated_resnet
from solo_rt.train.models.parts.pooling import BINS, adaptive_average
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

WIDTH = 128


class CascadeFusion(nn.Module):
    """A coarse map brought to the size of a finer one and added to it; `guide` classifies the coarse one alone."""

    def __init__(self, coarse: int, fine: int, num_classes: int) -> None:
        super().__init__()
        self.coarse = conv_norm(coarse, WIDTH, 3, dilation=2, relu=None)
        self.fine = conv_norm(fine, WIDTH, relu=None)
        self.guide = nn.Conv2d(WIDTH, num_classes, 1, bias=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        coarse = self.coarse(resize(coarse, fine))
        return F.relu(coarse + self.fine(fine)), coarse


class IcNet(SemanticNetwork):
    """See `SemanticNetwork`. Learnt from `aux` alone: logits at 1/4, 1/8 and 1/16 (section 3.3 and equation 1).

    The branches for half and for a quarter of the picture share one ResNet.
    """

    imgsz = (1024, 2048)
    aux_weights = (1.0, 0.4, 0.16)

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = dilated_resnet(backbone)
        _, c3, _, c5 = self.backbone.out_channels
        self.quarter = nn.Sequential(conv_norm(3, 32, 3, stride=2), conv_norm(32, 32, 3, stride=2))
        self.eighth = conv_norm(32, 64, 3, stride=2)
        self.fuse16 = CascadeFusion(c5, c3, num_classes)
        self.fuse8 = CascadeFusion(WIDTH, 64, num_classes)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1, bias=False)

    def forward(self, images: Tensor) -> SemanticOutput:
        quarter = self.quarter(images)  # [B, 32, H/4, W/4]
        eighth = self.eighth(quarter)  # [B, 64, H/8, W/8]
        sixteenth = self._to_c3(_shrink(images, 2))  # [B, 512, H/16, W/16]
        c5 = self.backbone.layer4(self.backbone.layer3(self._to_c3(_shrink(images, 4))))  # [B, 2048, H/32, W/32]
        pooled = c5 + sum(resize(adaptive_average(c5, bins), c5) for bins in BINS)
        fused16, coarse16 = self.fuse16(pooled, sixteenth)
        fused8, coarse8 = self.fuse8(fused16, eighth)
        logits = self.classifier(resize(fused8, quarter))  # [B, C, H/4, W/4]
        out = self.enlarge(logits, images)
        if not self.training:
            return SemanticOutput(out)
        return SemanticOutput(out, (logits, self.fuse8.guide(coarse8), self.fuse16.guide(coarse16)), guided=True)

    def _to_c3(self, images: Tensor) -> Tensor:
        c3: Tensor = self.backbone.layer2(self.backbone.layer1(self.backbone.stem(images)))
        return c3


def _shrink(images: Tensor, factor: int) -> Tensor:
    """Return the images at one `factor`-th of their height and width, rounded up."""
    size = [-(-side // factor) for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=True)


BUILDERS = {f"icnet-{backbone}": partial(IcNet, backbone) for backbone in ("r50", "r50s")}
