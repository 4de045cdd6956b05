"""torchvision's ResNets for ImageNet: backbones, which training takes as they are."""

from __future__ import annotations

from solo_rt.errors import UsageError
from solo_rt.train.importing.base import Imported, Source, has
from solo_rt.train.importing.instances import backbone_depths
from solo_rt.train.importing.weights_file import WeightsFile
from solo_rt.train.models.solov2 import VARIANTS


def _translate(file: WeightsFile) -> Imported:
    """Raise UsageError: a backbone is no network, and says which can be trained from it."""
    depths = backbone_depths({f"backbone.{name}": tensor for name, tensor in file.weights.items()})
    models = [name for name, config in VARIANTS.items() if config.backbone.depths == depths]
    what = f"a backbone of {'-'.join(map(str, depths))} blocks, not a network that finds anything"
    if not models:
        raise UsageError(f"expected a file with torchvision's names for a ResNet, found {what}")
    raise UsageError(
        f"this is {what}; it needs no import: "
        f"train {' or '.join(models[:3])} with solo-rt train --model NAME --backbone-weights FILE"
    )


TORCHVISION = Source("torchvision", "BSD-3-Clause (pytorch/vision)", has("layer1.0.conv1.weight"), _translate)
