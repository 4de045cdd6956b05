"""Batch normalisation folded into the convolutions before it."""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from solo_rt.train.models.parts.deform_conv import DeformConv2d

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(model: Module) -> Module:
    """Return a copy of `model`, in evaluation mode, with every BatchNorm folded into the convolution before it."""
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        children = dict(module.named_children())
        names = list(children)
        for name, following in itertools.pairwise(names):
            conv, norm = children[name], children[following]
            if isinstance(conv, nn.Conv2d | DeformConv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))  # type: ignore[type-var]
                setattr(module, following, nn.Identity())
    return model
