"""Weights of ours under the names that other code bases give them, written down name by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from small import CONFIGS, make_small
from torch import Tensor

from solo_rt.train import models
from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.models import build_model, solo, solov2
from solo_rt.train.models.solo import Solo, SoloConfig
from solo_rt.train.models.solov2 import SoloV2, SoloV2Config

State = dict[str, Tensor]
Names = dict[str, str]  # from ours to theirs


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


def train_small(
    patch: pytest.MonkeyPatch, kind: str, *, config: SoloConfig | SoloV2Config | None = None, name: str = "small"
) -> Trained:
    """Return a small network of `kind`, or of `config`, that is one of the zoo while a test runs."""
    if config is not None:
        patch.setitem(CONFIGS, kind, config)
    model = make_small(kind, trained=True)
    kinds = solov2.VARIANTS if isinstance(model, SoloV2) else solo.VARIANTS
    patch.setitem(kinds, name, model.config)  # type: ignore[arg-type]
    patch.setitem(models.BUILDERS, name, partial(type(model), model.config))  # type: ignore[arg-type]
    return Trained(name, model)


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


def seed(state: Mapping[str, Tensor]) -> Names:
    """OpenFirework/pytorch_solov2: SOLOv2 Light."""
    names = torchvision_backbone(state)
    for i in range(4):
        names |= parts(f"fpn.lateral_convs.{i}", f"fpn.lateral_convs.{i}")
        names |= parts(f"fpn.fpn_convs.{i}", f"fpn.fpn_convs.{i}")
    for tower in ("cate_convs", "kernel_convs"):
        for i in range(2):
            theirs = f"bbox_head.{tower}.{i}"
            names |= layer(f"head.{tower}.{i}", f"{theirs}.0", f"{theirs}.1")
    names |= parts("head.solo_cate", "bbox_head.solo_cate") | parts("head.solo_kernel", "bbox_head.solo_kernel")
    for level, j in MASK_CONVS:
        theirs = f"mask_feat_head.convs_all_levels.{level}.conv{j}"
        names |= layer(f"mask_branch.convs_all_levels.{level}.{j}", f"{theirs}.0", f"{theirs}.1")
    return names | layer("mask_branch.conv_pred", "mask_feat_head.conv_pred.0", "mask_feat_head.conv_pred.1")


def mmdet(state: Mapping[str, Tensor]) -> Names:
    """open-mmlab/mmdetection 2 and 3: SOLO, Decoupled SOLO, its light form, and SOLOv2."""
    names = torchvision_backbone(state) | mmdetection_fpn()
    for i in range(7):
        names |= layer(f"head.cate_convs.{i}", f"mask_head.cls_convs.{i}.conv", f"mask_head.cls_convs.{i}.gn")
        names |= layer(f"head.kernel_convs.{i}", f"mask_head.kernel_convs.{i}.conv", f"mask_head.kernel_convs.{i}.gn")
        names |= layer(f"head.ins_convs.{i}", f"mask_head.mask_convs.{i}.conv", f"mask_head.mask_convs.{i}.gn")
        names |= layer(f"head.ins_convs_x.{i}", f"mask_head.mask_convs_x.{i}.conv", f"mask_head.mask_convs_x.{i}.gn")
        names |= layer(f"head.ins_convs_y.{i}", f"mask_head.mask_convs_y.{i}.conv", f"mask_head.mask_convs_y.{i}.gn")
    names |= parts("head.solo_cate", "mask_head.conv_cls") | parts("head.solo_kernel", "mask_head.conv_kernel")
    for level in range(5):
        names |= parts(f"head.solo_ins_list.{level}", f"mask_head.conv_mask_list.{level}")
        names |= parts(f"head.dsolo_ins_list_x.{level}", f"mask_head.conv_mask_list_x.{level}")
        names |= parts(f"head.dsolo_ins_list_y.{level}", f"mask_head.conv_mask_list_y.{level}")
    for level, j in MASK_CONVS:
        theirs = f"mask_head.mask_feature_head.convs_all_levels.{level}.conv{j}"
        names |= layer(f"mask_branch.convs_all_levels.{level}.{j}", f"{theirs}.conv", f"{theirs}.gn")
    theirs = "mask_head.mask_feature_head.conv_pred"
    return names | layer("mask_branch.conv_pred", f"{theirs}.conv", f"{theirs}.gn")


def adet(state: Mapping[str, Tensor]) -> Names:
    """AdelaiDet on detectron2: SOLOv2; frozen batch normalisation counts nothing."""
    norm = ("weight", "bias", "running_mean", "running_var")
    names = {"backbone.conv1.weight": "backbone.bottom_up.stem.conv1.weight"}
    names |= parts("backbone.bn1", "backbone.bottom_up.stem.conv1.norm", *norm)
    for ours, theirs in (("layer1", "res2"), ("layer2", "res3"), ("layer3", "res4"), ("layer4", "res5")):
        for b in range(23):
            block, other = f"backbone.{ours}.{b}", f"backbone.bottom_up.{theirs}.{b}"
            for n in (1, 2, 3):
                names[f"{block}.conv{n}.weight"] = f"{other}.conv{n}.weight"
                names |= parts(f"{block}.bn{n}", f"{other}.conv{n}.norm", *norm)
            names[f"{block}.downsample.0.weight"] = f"{other}.shortcut.weight"
            names |= parts(f"{block}.downsample.1", f"{other}.shortcut.norm", *norm)
    for i, level in enumerate(("2", "3", "4", "5")):
        names |= parts(f"fpn.lateral_convs.{i}", f"backbone.fpn_lateral{level}")
        names |= parts(f"fpn.fpn_convs.{i}", f"backbone.fpn_output{level}")
    for i, (conv, gn) in enumerate(((0, 1), (3, 4), (6, 7), (9, 10))):
        for ours, theirs in (("cate_convs", "cate_tower"), ("kernel_convs", "kernel_tower")):
            names |= layer(f"head.{ours}.{i}", f"ins_head.{theirs}.{conv}", f"ins_head.{theirs}.{gn}")
    names |= parts("head.solo_cate", "ins_head.cate_pred") | parts("head.solo_kernel", "ins_head.kernel_pred")
    for level, j in MASK_CONVS:
        theirs = f"mask_head.convs_all_levels.{level}.conv{j}"
        names |= layer(f"mask_branch.convs_all_levels.{level}.{j}", f"{theirs}.0", f"{theirs}.1")
    names |= layer("mask_branch.conv_pred", "mask_head.conv_pred.0", "mask_head.conv_pred.1")
    return names


def assert_same_outputs(checkpoint: Checkpoint, trained: Trained) -> None:
    """Fail unless the network of the checkpoint computes the bits that the original computes."""
    model = build_model(checkpoint.model, len(checkpoint.classes)).eval()
    model.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        heads = [network(trained.image()) for network in (model, trained.model)]
    found, expected = ([x for part in parts for x in (part if isinstance(part, list) else [part])] for parts in heads)
    assert len(found) == len(expected) > 2
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
