"""torchvision: FCN and DeepLabv3, and its networks for ImageNet, which training takes as backbones as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.importing.base import Imported, Rules, layer, module
from solo_rt.train.importing.instances import backbone_depths
from solo_rt.train.importing.semantic import Network, fcn_head, semantic_source
from solo_rt.train.importing.weights_file import WeightsFile
from solo_rt.train.models.solov2 import VARIANTS

RESNET = "layer1.0.conv1.weight"
OTHER_BACKBONES = {"features.28.weight": "fcn-8s", "features.conv0.weight": "denseaspp-d121"}  # and what they are for
SIZES = {21: (520, 520)}

BODY: Rules = {r"(backbone\.(conv1|bn1|layer\d)\..+)": r"\1", **fcn_head("aux_classifier", "aux")}
NETWORKS = (
    Network(
        "classifier.0.convs.0.0.weight",
        ("deeplabv3-r50-torchvision", "deeplabv3-r101-torchvision"),
        "head.1.2.weight",
        {
            **BODY,
            **layer(r"classifier.0.convs.([0-3])", r"head.0.branches.\1"),
            **layer("classifier.0.convs.4", "head.0.picture", conv="1", norm="2"),
            **layer("classifier.0.project", "head.0.out.0"),
            **layer("classifier", "head.1.0", conv="1", norm="2"),
            **module("classifier.4", "head.1.2"),
        },
        sizes=SIZES,
    ),
    Network(
        "backbone.conv1.weight",
        ("fcn-r50-torchvision", "fcn-r101-torchvision"),
        "head.2.weight",
        {**BODY, **fcn_head("classifier", "head")},
        told_by="classifier.4.weight",
        sizes=SIZES,
    ),
)
_NETWORKS = semantic_source("torchvision", "BSD-3-Clause (pytorch/vision)", NETWORKS)


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    return _is_backbone(weights) or _NETWORKS.recognises(weights)


def _is_backbone(weights: Mapping[str, Tensor]) -> bool:
    return any(marker in weights for marker in (RESNET, *OTHER_BACKBONES))


def _translate(file: WeightsFile) -> Imported:
    """Return what a file of a network holds. Raises: UsageError for a backbone, which says what it is good for."""
    if not _is_backbone(file.weights):
        return _NETWORKS.translate(file)
    depths = backbone_depths({f"backbone.{name}": tensor for name, tensor in file.weights.items()})
    models = [name for name, config in VARIANTS.items() if config.backbone.depths == depths][:3]
    models += [name for marker, name in OTHER_BACKBONES.items() if marker in file.weights]
    what = f"a backbone of {'-'.join(map(str, depths))} blocks" if any(depths) else "a backbone"
    if not models:
        raise UsageError(f"expected a file with torchvision's names for a ResNet, found {what}")
    raise UsageError(
        f"this is {what}, not a network that finds anything; it needs no import: "
        f"train {' or '.join(models)} with solo-rt train --model NAME --backbone-weights FILE"
    )


TORCHVISION = replace(_NETWORKS, recognises=_recognises, translate=_translate)
