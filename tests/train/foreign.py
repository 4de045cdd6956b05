"""Weights of ours under the names that other code bases give them, written down name by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from small import CONFIGS, make_small
from torch import Tensor

from solo_rt.train import models
from solo_rt.train.models import solo, solov2
from solo_rt.train.models.solo import Solo, SoloConfig
from solo_rt.train.models.solov2 import SoloV2

State = dict[str, Tensor]
Names = dict[str, str]  # from ours to theirs

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def add_small_variant(patch: pytest.MonkeyPatch, kind: str) -> str:
    """Make a small network of `kind` one of the zoo while a test runs, and return its name."""
    config, name = CONFIGS[kind], f"small-{kind}"
    if isinstance(config, SoloConfig):
        patch.setitem(solo.VARIANTS, name, config)
        patch.setitem(models.BUILDERS, name, lambda classes: Solo(config, classes))
    else:
        patch.setitem(solov2.VARIANTS, name, config)
        patch.setitem(models.BUILDERS, name, lambda classes: SoloV2(config, classes))
    return name


def torchvision_backbone(state: Mapping[str, Tensor]) -> Names:
    """The names of torchvision, under `backbone.`; ours are the same."""
    return {key: key for key in state if key.startswith("backbone.")}


def official_solov2(state: Mapping[str, Tensor], *, depth: int) -> Names:
    """WXinlong/SOLO: SOLOv2 with towers of `depth`."""
    names = torchvision_backbone(state)
    for i in range(4):
        for part in ("weight", "bias"):
            names[f"fpn.lateral_convs.{i}.{part}"] = f"neck.lateral_convs.{i}.conv.{part}"
            names[f"fpn.fpn_convs.{i}.{part}"] = f"neck.fpn_convs.{i}.conv.{part}"
    for tower in ("cate_convs", "kernel_convs"):
        for i in range(depth):
            names[f"head.{tower}.{i}.0.weight"] = f"bbox_head.{tower}.{i}.conv.weight"
            for part in ("weight", "bias"):
                names[f"head.{tower}.{i}.1.{part}"] = f"bbox_head.{tower}.{i}.gn.{part}"
    for part in ("weight", "bias"):
        names[f"head.solo_cate.{part}"] = f"bbox_head.solo_cate.{part}"
        names[f"head.solo_kernel.{part}"] = f"bbox_head.solo_kernel.{part}"
        names[f"mask_branch.conv_pred.1.{part}"] = f"mask_feat_head.conv_pred.0.gn.{part}"
    names["mask_branch.conv_pred.0.weight"] = "mask_feat_head.conv_pred.0.conv.weight"
    for level, convs in ((0, 1), (1, 1), (2, 2), (3, 3)):
        for j in range(convs):
            ours, theirs = (
                f"mask_branch.convs_all_levels.{level}.{j}",
                f"mask_feat_head.convs_all_levels.{level}.conv{j}",
            )
            names[f"{ours}.0.weight"] = f"{theirs}.conv.weight"
            names[f"{ours}.1.weight"] = f"{theirs}.gn.weight"
            names[f"{ours}.1.bias"] = f"{theirs}.gn.bias"
    return names


def renamed(state: Mapping[str, Tensor], names: Names) -> State:
    """Return the tensors by their other names; every one must have one."""
    assert names.keys() == state.keys()
    return {names[key]: value for key, value in state.items()}


@dataclass(frozen=True)
class Trained:
    """A small network with weights as if trained, and the name it has in the zoo."""

    name: str
    model: SoloV2 | Solo

    @property
    def state(self) -> State:
        return self.model.state_dict()

    def image(self, seed: int = 1) -> Tensor:
        return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def train_small(patch: pytest.MonkeyPatch, kind: str, classes: int = 3) -> Trained:
    return Trained(add_small_variant(patch, kind), make_small(kind, classes, trained=True))
