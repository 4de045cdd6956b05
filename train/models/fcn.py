"""FCN (Long et al., CVPR 2015) on VGG16, without the padding of 100 and the wide layers of 2015, and on a ResNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from solo_rt.train.models.dilated_network import torchvision_variants, variants
from solo_rt.train.models.parts.convolution import pixel_classifier
from solo_rt.train.models.parts.vgg import Vgg16
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, resize

SKIPS = {
    32: (),
    16: (1,),
    8: (1, 0),
}  # stride of the finest map that is read: indices of skipped-to maps, deepest first


class VggFcn(SemanticNetwork):
    """See `SemanticNetwork`. A head on pool5 at stride 32, and 1x1 classifiers on the pools before it added to it."""

    aux_weights = (0.4,)

    def __init__(self, stride: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.skips = SKIPS[stride]
        self.backbone = Vgg16()
        *pools, last = self.backbone.out_channels  # 256, 512 and 512
        self.head = pixel_classifier(last, last // 4, num_classes)
        self.scores = nn.ModuleList(nn.Conv2d(pools[i], num_classes, 1) for i in self.skips)
        self.aux = pixel_classifier(last, last // 4, num_classes)

    def forward(self, images: Tensor) -> SemanticOutput:
        *pools, last = self.backbone(images)
        logits = self.head(last)
        for i, score in zip(self.skips, self.scores, strict=True):
            logits = resize(logits, pools[i]) + score(pools[i])
        return SemanticOutput(self.enlarge(logits, images), (self.aux(last),) if self.training else ())


def head(channels: int, num_classes: int) -> nn.Sequential:
    """Return the head of an FCN on a map of so many channels."""
    return pixel_classifier(channels, channels // 4, num_classes)


BUILDERS: dict[str, Callable[[int], SemanticNetwork]] = {
    **{f"fcn-{stride}s": partial(VggFcn, stride) for stride in SKIPS},
    **variants("fcn", head),
    **torchvision_variants("fcn", head),
}
