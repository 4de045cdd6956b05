"""SOLO (Wang et al., ECCV 2020) and Decoupled SOLO (TPAMI 2021, section 3.4): one mask for every cell of a grid.

SOLO has a map for each of the S x S cells of a level; Decoupled SOLO has one for each column and one for each row,
whose product is the mask of a cell. Variants differ in numbers only: `VARIANTS` is the whole zoo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from solo_rt.train.models.network import Network
from solo_rt.train.models.parts.fpn import FPN
from solo_rt.train.models.parts.levels import (
    FULL_RANGES,
    GRIDS,
    LIGHT_512_RANGES,
    coordinates,
    double,
    prepare_levels,
    resize,
    with_coordinates,
)
from solo_rt.train.models.parts.resnet import BACKBONES, DeformVersion, ResNet, ResNetConfig
from solo_rt.train.models.parts.towers import make_prior_conv, make_tower


@dataclass(frozen=True, slots=True)
class SoloConfig:
    """The numbers of one variant."""

    backbone: ResNetConfig
    masks: Literal["cells", "axes"]  # SOLO or Decoupled SOLO
    scale_ranges: tuple[tuple[float, float], ...] = FULL_RANGES  # square root of the box area, pixels, inclusive
    imgsz: tuple[int, int] = (768, 1344)  # height, width
    test_scale: tuple[int, int] = (1333, 800)  # of the published measurement: longest and shortest side at most
    shared_tower: bool = False  # one tower for the maps of both axes, as Decoupled SOLO Light has it
    tower_depth: int = 7
    tower_width: int = 256
    fpn_channels: int = 256
    grids: tuple[int, ...] = GRIDS
    norm_groups: int = 32
    tower_deform: DeformVersion | None = None  # of the last convolution of every tower


_SOLO = SoloConfig(BACKBONES["r50"], "cells")
_DECOUPLED = SoloConfig(BACKBONES["r50"], "axes")
_LIGHT = replace(
    _DECOUPLED,
    shared_tower=True,
    tower_depth=4,
    scale_ranges=LIGHT_512_RANGES,
    imgsz=(480, 864),
    test_scale=(852, 512),
)

VARIANTS: dict[str, SoloConfig] = {
    **{
        f"{kind}-{name}": replace(config, backbone=BACKBONES[name])
        for kind, config in (("solo", _SOLO), ("decoupled-solo", _DECOUPLED), ("decoupled-solo-light", _LIGHT))
        for name in ("r18", "r34", "r50", "r101")
    },
    "decoupled-solo-light-dcn-r50": replace(_LIGHT, backbone=replace(BACKBONES["r50"], deform="v1"), tower_deform="v1"),
}


class CellHeads(NamedTuple):
    """Raw output of SOLO.

    The last layer of its masks, a 1x1 convolution with one channel per cell, is handed out instead of applied: a mask
    is wanted for a few cells only. Cell i of level L has the mask logits `kernels[L][i, :F] . features[L] +
    kernels[L][i, F]`, then enlarged to twice the size, which commutes with the convolution.
    """

    logits: list[Tensor]  # per level [B, C, S, S], before points NMS
    features: list[Tensor]  # per level [B, F, h, w] at strides 8, 8, 16, 32 and 32
    kernels: list[Tensor]  # per level [S * S, F + 1]: weights, then bias


class AxisHeads(NamedTuple):
    """Raw output of Decoupled SOLO. The mask of the cell in row i and column j is `sigmoid(x[j]) * sigmoid(y[i])`."""

    logits: list[Tensor]  # per level [B, C, S, S], before points NMS
    x: list[Tensor]  # per level [B, S, h, w], one map per column, at strides 4, 4, 8, 16 and 16
    y: list[Tensor]  # likewise, one map per row


class CellHead(nn.Module):
    """The head of SOLO; weights are shared by the levels but for the last layer of the masks (section 3.2)."""

    def __init__(self, config: SoloConfig, num_classes: int) -> None:
        super().__init__()
        self.grids = config.grids
        tower, width = _tower_maker(config), config.tower_width
        self.ins_convs = tower(config.fpn_channels + 2)
        self.cate_convs = tower(config.fpn_channels)
        self.solo_ins_list = nn.ModuleList(make_prior_conv(width, grid**2, 1) for grid in config.grids)
        self.solo_cate = make_prior_conv(width, num_classes, 3)

    def forward(self, levels: tuple[Tensor, ...]) -> CellHeads:
        prepared = prepare_levels(levels)
        features = [self.ins_convs(with_coordinates(x, coordinates(*_size(x), x))) for x in prepared]
        return CellHeads(class_logits(self, prepared), features, self.kernels())

    def kernels(self) -> list[Tensor]:
        """Return weights and bias of the last layer of the masks, see `CellHeads`."""
        return [torch.cat([conv.weight.flatten(1), conv.bias[:, None]], dim=1) for conv in self.solo_ins_list]  # type: ignore[operator, union-attr, index]


class AxisHead(nn.Module):
    """The head of Decoupled SOLO; a tower for each axis sees its coordinate only, a shared one sees both."""

    def __init__(self, config: SoloConfig, num_classes: int) -> None:
        super().__init__()
        self.grids, self.shared_tower = config.grids, config.shared_tower
        tower, width, channels = _tower_maker(config), config.tower_width, config.fpn_channels
        if config.shared_tower:
            self.ins_convs = tower(channels + 2)
        else:
            self.ins_convs_x, self.ins_convs_y = tower(channels + 1), tower(channels + 1)
        self.cate_convs = tower(channels)
        self.dsolo_ins_list_x = nn.ModuleList(make_prior_conv(width, grid, 3) for grid in config.grids)
        self.dsolo_ins_list_y = nn.ModuleList(make_prior_conv(width, grid, 3) for grid in config.grids)
        self.solo_cate = make_prior_conv(width, num_classes, 3)

    def forward(self, levels: tuple[Tensor, ...]) -> AxisHeads:
        prepared = prepare_levels(levels)
        towers = []
        for x in prepared:
            coords = coordinates(*_size(x), x)
            if self.shared_tower:
                towers.append((self.ins_convs(with_coordinates(x, coords)),) * 2)
            else:
                along_x = self.ins_convs_x(with_coordinates(x, coords[:, :1]))
                towers.append((along_x, self.ins_convs_y(with_coordinates(x, coords[:, 1:]))))
        return AxisHeads(class_logits(self, prepared), *self.maps(towers))

    def maps(self, towers: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the maps of columns and of rows from what the towers made of each level for either axis."""
        xs, ys = [], []
        for (along_x, along_y), conv_x, conv_y in zip(
            towers, self.dsolo_ins_list_x, self.dsolo_ins_list_y, strict=True
        ):
            wide_x = double(along_x)
            wide_y = wide_x if self.shared_tower else double(along_y)
            xs.append(conv_x(wide_x))
            ys.append(conv_y(wide_y))
        return xs, ys


def class_logits(head: CellHead | AxisHead, prepared: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the class logits of each level, `[B, C, S, S]`, from features without coordinates."""
    grids = [resize(x, (grid, grid)) for x, grid in zip(prepared, head.grids, strict=True)]
    return [head.solo_cate(head.cate_convs(x)) for x in grids]


def _tower_maker(config: SoloConfig) -> partial[nn.Sequential]:
    return partial(
        make_tower,
        width=config.tower_width,
        depth=config.tower_depth,
        groups=config.norm_groups,
        deform=config.tower_deform,
    )


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


class Solo(Network):
    """`forward` maps `float32 [B, 3, H, W]`, normalised RGB with H and W divisible by 32, to the heads' raw output."""

    def __init__(self, config: SoloConfig, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.imgsz = config, num_classes, config.imgsz
        self.backbone = ResNet(config.backbone)
        self.fpn = FPN(self.backbone.out_channels, config.fpn_channels)
        self.head = (CellHead if config.masks == "cells" else AxisHead)(config, num_classes)

    def forward(self, images: Tensor) -> CellHeads | AxisHeads:
        return self.head(self.fpn(self.backbone(images)))  # type: ignore[no-any-return]


BUILDERS = {name: partial(Solo, config) for name, config in VARIANTS.items()}
