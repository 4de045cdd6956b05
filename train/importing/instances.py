"""What the sources of SOLO networks share: which of ours a file may be of, and how many classes it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.importing.base import Imported, Rules, rename
from solo_rt.train.importing.weights_file import WeightsFile
from solo_rt.train.models import solo, solov2

CLASS_BIAS = "head.solo_cate.bias"

# Backbone and FPN in mmdetection of any age; files older than its second layer format have the offsets of deformable
# convolutions beside instead of inside of them.
MMDETECTION_BODY = {
    r"(backbone\.layer\d\.\d+\.conv2)_offset\.(weight|bias)": r"\1.conv_offset.\2",
    r"(backbone\.(conv1|bn1|layer\d)\..+)": r"\1",
    r"neck\.(lateral_convs|fpn_convs)\.(\d)\.conv\.(weight|bias)": r"fpn.\1.\2.\3",
}


def translate_instances(file: WeightsFile, *, rules: Rules, stride_on: Literal["3x3", "1x1"]) -> Imported:
    """Return what a file of a SOLO network holds; where bottlenecks have their stride is not in the weights.

    Raises: UsageError when that is no such network.
    """
    weights, unexpected = rename(file.weights, rules)
    if CLASS_BIAS not in weights:
        raise UsageError("expected a SOLO network, found no layer of it that gives class scores; try another --from")
    return Imported(_candidates(weights, stride_on), len(weights[CLASS_BIAS]), weights, unexpected)


def _candidates(weights: Mapping[str, Tensor], stride_on: Literal["3x3", "1x1"]) -> tuple[str, ...]:
    """Return the networks with the kind of head that `weights` have; those with a backbone as deep, if there are."""
    variants = solov2.VARIANTS if any(key.startswith("mask_branch.") for key in weights) else solo.VARIANTS
    backbones = {name: config.backbone for name, config in variants.items() if config.backbone.stride_on == stride_on}
    depths = backbone_depths(weights)
    return tuple(name for name, backbone in backbones.items() if backbone.depths == depths) or tuple(backbones)


def backbone_depths(weights: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return how many blocks each stage of the backbone has, 0 where it has none."""
    blocks = {match[0] for key in weights if (match := re.match(r"backbone\.layer\d\.\d+\.", key))}
    return tuple(sum(f".layer{stage}." in block for block in blocks) for stage in (1, 2, 3, 4))
