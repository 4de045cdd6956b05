"""Batch normalisation folded into the convolutions before it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from solo_rt.train.models.parts.deform_conv import DeformConv2d

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(model: Module) -> Module:
    """Return a copy of `model`, in evaluation mode, with every BatchNorm folded into the convolution before it."""
    model = copy.deepcopy(model).eval()
    for module, name, following in list(folded_pairs(model)):
        setattr(module, name, fuse_conv_bn_eval(getattr(module, name), getattr(module, following)))
        setattr(module, following, nn.Identity())
    return model


def folded_pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield each module that has a convolution with a BatchNorm behind it, and the names of the two."""
    for module in model.modules():
        for (name, conv), (following, norm) in itertools.pairwise(module.named_children()):
            if isinstance(conv, nn.Conv2d | DeformConv2d) and isinstance(norm, NORMS):
                yield module, name, following
