"""Weights of ours under the names that other code bases give them, written down name by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from small import CONFIGS, make_small
from torch import Tensor

from solo_rt.train import models
from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.models import build_model, solo, solov2
from solo_rt.train.models.solo import Solo, SoloConfig
from solo_rt.train.models.solov2 import SoloV2

State = dict[str, Tensor]
Names = dict[str, str]  # from ours to theirs


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


def renamed(state: Mapping[str, Tensor], names: Names) -> State:
    """Return the tensors by their other names; every one must have one, and no two the same."""
    assert not state.keys() - names.keys()
    theirs = {names[key]: value for key, value in state.items()}
    assert len(theirs) == len(state)
    return theirs


def parts(ours: str, theirs: str, *tensors: str) -> Names:
    """Return the names of the tensors of one module, by default those of a convolution or group normalisation."""
    return {f"{ours}.{tensor}": f"{theirs}.{tensor}" for tensor in tensors or ("weight", "bias")}


def layer(ours: str, conv: str, norm: str) -> Names:
    """Return the names of a convolution, plain or deformable, and the normalisation behind it."""
    return {
        f"{ours}.0.weight": f"{conv}.weight",
        **parts(f"{ours}.0.conv_offset", f"{conv}.conv_offset"),
        **parts(f"{ours}.1", norm),
    }


def torchvision_backbone(state: Mapping[str, Tensor]) -> Names:
    """The names of torchvision, under `backbone.`; ours are the same."""
    return {key: key for key in state if key.startswith("backbone.")}


def mmdetection_fpn() -> Names:
    names: Names = {}
    for i in range(4):
        names |= parts(f"fpn.lateral_convs.{i}", f"neck.lateral_convs.{i}.conv")
        names |= parts(f"fpn.fpn_convs.{i}", f"neck.fpn_convs.{i}.conv")
    return names


MASK_CONVS = ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # level and place of those of the mask branch


def official(state: Mapping[str, Tensor]) -> Names:
    """WXinlong/SOLO: SOLO, Decoupled SOLO, its light form, and SOLOv2."""
    names = torchvision_backbone(state) | mmdetection_fpn()
    for tower in ("cate_convs", "kernel_convs", "ins_convs", "ins_convs_x", "ins_convs_y"):
        for i in range(7):
            theirs = f"bbox_head.{tower}.{i}"
            names |= layer(f"head.{tower}.{i}", f"{theirs}.conv", f"{theirs}.gn")
    decoupled = any("dsolo_ins_list_x" in key for key in state)
    names |= parts("head.solo_cate", "bbox_head.dsolo_cate" if decoupled else "bbox_head.solo_cate")
    names |= parts("head.solo_kernel", "bbox_head.solo_kernel")
    for level in range(5):
        for outputs in ("solo_ins_list", "dsolo_ins_list_x", "dsolo_ins_list_y"):
            names |= parts(f"head.{outputs}.{level}", f"bbox_head.{outputs}.{level}")
    for level, j in MASK_CONVS:
        theirs = f"mask_feat_head.convs_all_levels.{level}.conv{j}"
        names |= layer(f"mask_branch.convs_all_levels.{level}.{j}", f"{theirs}.conv", f"{theirs}.gn")
    theirs = "mask_feat_head.conv_pred.0"
    return names | layer("mask_branch.conv_pred", f"{theirs}.conv", f"{theirs}.gn")


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


def assert_same_outputs(checkpoint: Checkpoint, trained: Trained) -> None:
    """Fail unless the network of the checkpoint computes the bits that the original computes."""
    model = build_model(checkpoint.model, len(checkpoint.classes)).eval()
    model.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        heads = [network(trained.image()) for network in (model, trained.model)]
    found, expected = ([x for part in parts for x in (part if isinstance(part, list) else [part])] for parts in heads)
    assert len(found) == len(expected) > 2
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
