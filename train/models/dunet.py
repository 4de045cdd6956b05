"""DUNet (Tian et al., CVPR 2019): each pixel of a map tells the classes of a block of pixels, on a dilated ResNet."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.dilated_resnet import dilated_resnet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

WIDTH = 256
LOW_WIDTH = 48  # so that the earlier maps do not outweigh the last
STRIDE = 8


class DUpsampling(nn.Module):
    """Logits of the `STRIDE` x `STRIDE` pixels around each element of a map, linear in it (section 3.1).

    The paper learns the matrix beforehand, from blocks of labels alone; here it is learnt with the rest. Its
    temperature (section 3.2), which the logits are divided by, divides the map instead: that has fewer numbers.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.expand = nn.Conv2d(WIDTH, num_classes * STRIDE**2, 1, bias=False)

    def forward(self, x: Tensor, images: Tensor) -> Tensor:
        h, w = images.shape[-2:]
        logits = F.pixel_shuffle(self.expand(x / self.temperature), STRIDE)
        return logits[..., :h, :w]  # [B, C, H, W]: the last blocks reach beyond a picture that they do not divide


class DuNet(SemanticNetwork):
    """See `SemanticNetwork`. C3 and C4 join C5, at stride 8 all three (section 3.3); the auxiliary output reads C4."""

    aux_weights = (0.4,)

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = dilated_resnet(backbone)
        _, c3, c4, c5 = self.backbone.out_channels
        self.low3 = conv_norm(c3, LOW_WIDTH)
        self.low4 = conv_norm(c4, LOW_WIDTH)
        self.fuse = nn.Sequential(conv_norm(c5 + 2 * LOW_WIDTH, WIDTH, 3), conv_norm(WIDTH, WIDTH, 3))
        self.upsample = DUpsampling(num_classes)
        self.aux = nn.Sequential(conv_norm(c4, WIDTH, 3), nn.Dropout(0.1), nn.Conv2d(WIDTH, WIDTH, 1))
        self.aux_upsample = DUpsampling(num_classes)

    def forward(self, images: Tensor) -> SemanticOutput:
        _, c3, c4, c5 = self.backbone(images)  # the last three [B, 512 or 1024 or 2048, H/8, W/8]
        fused = self.fuse(torch.cat([c5, self.low4(c4), self.low3(c3)], dim=1))
        out = self.upsample(fused, images)
        return SemanticOutput(out, (self.aux_upsample(self.aux(c4), images),) if self.training else ())


BUILDERS = {f"dunet-{backbone}": partial(DuNet, backbone) for backbone in ("r50", "r101", "r50s", "r101s")}
