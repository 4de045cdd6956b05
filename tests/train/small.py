"""One small variant of every kind of instance network, quick enough for tests."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solo_rt.train.models.parts.levels import double
from solo_rt.train.models.parts.resnet import ResNetConfig
from solo_rt.train.models.solo import CellHeads, Solo, SoloConfig
from solo_rt.train.models.solov2 import SoloV2, SoloV2Config

SLIM = ResNetConfig("basic", (1, 1, 1, 1), widths=(8, 8, 12, 16), stem="slim")
DEEP = ResNetConfig("bottleneck", (1, 1, 1, 1), widths=(4, 4, 8, 8))
RANGES = ((1, 24), (12, 48), (24, 96), (48, 192), (96, 384))

_SOLO = SoloConfig(
    SLIM,
    "cells",
    scale_ranges=RANGES,
    imgsz=(64, 96),
    tower_depth=2,
    tower_width=16,
    fpn_channels=16,
    grids=(8, 6, 5, 4, 3),
    norm_groups=4,
)
_SOLOV2 = SoloV2Config(
    SLIM,
    tower_depth=2,
    tower_width=16,
    kernel_channels=8,
    scale_ranges=RANGES,
    imgsz=(64, 96),
    fpn_channels=16,
    mask_channels=8,
    grids=(8, 6, 5, 4, 3),
    norm_groups=4,
)
CONFIGS: dict[str, SoloConfig | SoloV2Config] = {
    "solov2": _SOLOV2,
    "solov2-dcn": replace(
        _SOLOV2, backbone=replace(DEEP, deform="v2"), tower_deform="v2", deformed="all", mask_deform="v2"
    ),
    "solo": _SOLO,
    "decoupled-solo": replace(_SOLO, masks="axes"),
    "decoupled-solo-light": replace(_SOLO, masks="axes", shared_tower=True),
    "decoupled-solo-light-dcn": replace(
        _SOLO, backbone=replace(DEEP, deform="v1"), masks="axes", shared_tower=True, tower_deform="v1"
    ),
}


def make_small(kind: str, classes: int = 3, *, seed: int = 0, trained: bool = False) -> SoloV2 | Solo:
    """Return a small network of `kind`; if `trained`, its weights, statistics and offsets are not a new one's."""
    torch.manual_seed(seed)
    config = CONFIGS[kind]
    model = SoloV2(config, classes) if isinstance(config, SoloV2Config) else Solo(config, classes)
    if trained:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "conv_offset" in name:
                    parameter.normal_(0, 0.2)
                elif parameter.ndim > 1 and "backbone" not in name:
                    nn.init.kaiming_normal_(parameter)
                elif "ins_list" in name:
                    parameter.normal_(1, 1)  # masks are not almost empty any more
                elif name.endswith("bias"):
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    buffer.add_(torch.rand_like(buffer) * 0.3)
            model.head.solo_cate.bias.fill_(-1.5)
    return model.eval() if trained else model


def mask_logits(heads: CellHeads) -> list[Tensor]:
    """Return the masks of all cells, `[B, S * S, 2h, 2w]` per level, in the order of the paper."""
    return [
        F.conv2d(double(x), kernel[:, :-1, None, None], kernel[:, -1])
        for x, kernel in zip(heads.features, heads.kernels, strict=True)
    ]
