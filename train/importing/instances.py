"""What the sources of SOLO networks share: which of ours a file may be of, and how many classes it has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.importing.base import Imported, Rules, rename
from solo_rt.train.importing.weights_file import WeightsFile
from solo_rt.train.models import solo, solov2

CLASS_BIAS = "head.solo_cate.bias"


def translate_instances(file: WeightsFile, rules: Rules) -> Imported:
    """Return what a file of a SOLO network holds. Raises: UsageError when that is no such network."""
    weights, unexpected = rename(file.weights, rules)
    if CLASS_BIAS not in weights:
        raise UsageError("expected a SOLO network, found no layer of it that gives class scores; try another --from")
    return Imported(_candidates(weights), len(weights[CLASS_BIAS]), weights, unexpected)


def _candidates(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the networks with the kind of head and the depth of backbone that `weights` have, if there are any."""
    variants = solov2.VARIANTS if any(key.startswith("mask_branch.") for key in weights) else solo.VARIANTS
    blocks = {match[0] for key in weights if (match := re.match(r"backbone\.layer\d\.\d+\.", key))}
    depths = tuple(sum(f".layer{stage}." in block for block in blocks) for stage in (1, 2, 3, 4))
    return tuple(name for name, config in variants.items() if config.backbone.depths == depths) or tuple(variants)
