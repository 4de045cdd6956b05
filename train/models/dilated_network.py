"""A dilated ResNet with a head: what FCN, PSPNet, DeepLabv3 and their like have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from solo_rt.train.models.parts.convolution import pixel_classifier
from solo_rt.train.models.parts.dilated_resnet import dilated_resnet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

BACKBONES = ("r50", "r101", "r50s", "r101s")  # ResNets, those with an "s" have the deep stem
Head = Callable[[int, int], nn.Module]  # from channels and classes to a module from [B, C5, h, w] to [B, C, h, w]


class DilatedNetwork(SemanticNetwork):
    """See `SemanticNetwork`. A head on C5 at stride 8 and, while training, the head of an FCN on C4."""

    aux_weights = (0.4,)

    def __init__(self, backbone: str, head: Head, num_classes: int, *, align_corners: bool = True) -> None:
        super().__init__()
        self.num_classes, self.align_corners = num_classes, align_corners
        self.backbone = dilated_resnet(backbone)
        *_, c4, c5 = self.backbone.out_channels
        self.head = head(c5, num_classes)
        self.aux = pixel_classifier(c4, c4 // 4, num_classes)

    def forward(self, images: Tensor) -> SemanticOutput:
        *_, c4, c5 = self.backbone(images)  # [B, 1024, H/8, W/8], [B, 2048, H/8, W/8]
        out = self.enlarge(self.head(c5), images, align_corners=self.align_corners)
        return SemanticOutput(out, (self.aux(c4),) if self.training else ())


def variants(name: str, head: Head) -> Mapping[str, Callable[[int], SemanticNetwork]]:
    """Return a builder of `name` with each backbone."""
    return {f"{name}-{backbone}": partial(DilatedNetwork, backbone, head) for backbone in BACKBONES}


def torchvision_variants(name: str, head: Head) -> Mapping[str, Callable[[int], SemanticNetwork]]:
    """Return a builder of `name` with each backbone that torchvision has, enlarging logits as it does."""
    return {
        f"{name}-{backbone}-torchvision": partial(DilatedNetwork, backbone, head, align_corners=False)
        for backbone in ("r50", "r101")
    }
