"""SOLOv2 (Wang et al., NeurIPS 2020): a backbone, an FPN, the grid head and the unified mask-feature branch.

Variants differ in numbers only: `VARIANTS` is the whole zoo. The network returns raw tensors; targets and losses
(`train.losses`) and decoding (`solo_rt.decode`) are other modules that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor, nn

from solo_rt.train.models.network import Network
from solo_rt.train.models.parts.conv import Conv2d
from solo_rt.train.models.parts.fpn import FPN
from solo_rt.train.models.parts.levels import (
    FULL_RANGES,
    GRIDS,
    LIGHT_448_RANGES,
    LIGHT_512_RANGES,
    coordinates,
    double,
    prepare_levels,
    resize,
    with_coordinates,
)
from solo_rt.train.models.parts.resnet import BACKBONES, DeformVersion, ResNet, ResNetConfig
from solo_rt.train.models.parts.towers import ConvNorm, make_prior_conv, make_tower


@dataclass(frozen=True, slots=True)
class SoloV2Config:
    """The numbers of one variant."""

    backbone: ResNetConfig
    tower_depth: int
    tower_width: int
    kernel_channels: int  # E: channels of the dynamic kernels and of the mask features
    scale_ranges: tuple[tuple[float, float], ...]  # square root of the box area, pixels, inclusive, per level
    imgsz: tuple[int, int]  # height, width
    test_scale: tuple[int, int] | None = None  # longest and shortest side at most, as published; None: those of imgsz
    fpn_channels: int = 256
    mask_channels: int = 128
    grids: tuple[int, ...] = GRIDS
    norm_groups: int = 32
    mask_norm: Literal["group", "batch"] = "group"
    tower_deform: DeformVersion | None = None
    deformed: Literal["last", "all"] = "last"  # which convolutions of a tower `tower_deform` is about
    mask_deform: DeformVersion | None = None  # of all convolutions of the mask branch


_NANO_RANGES = ((1, 32), (16, 64), (32, 128), (64, 256), (128, 512))
_R50 = BACKBONES["r50"]
_LIGHT = SoloV2Config(
    _R50,
    tower_depth=2,
    tower_width=256,
    kernel_channels=128,
    scale_ranges=LIGHT_448_RANGES,
    imgsz=(448, 768),
)
_FULL = SoloV2Config(
    _R50,
    tower_depth=4,
    tower_width=512,
    kernel_channels=256,
    scale_ranges=FULL_RANGES,
    imgsz=(768, 1344),
    test_scale=(1333, 800),
)
_LIGHT_512 = replace(_LIGHT, tower_depth=3, scale_ranges=LIGHT_512_RANGES, imgsz=(480, 864), test_scale=(852, 512))
_DEFORMED = replace(_FULL, tower_deform="v2", deformed="all", mask_deform="v2")

VARIANTS: dict[str, SoloV2Config] = {
    # Real time on a CPU: a third of the light variants' pixels, a quarter of their cells, slim everywhere. The mask
    # branch is normalised per batch, which folds into its convolutions; only the small towers keep GroupNorm.
    "solov2-nano": SoloV2Config(
        ResNetConfig("basic", (1, 2, 2, 2), widths=(32, 64, 96, 160), stem="slim"),
        fpn_channels=64,
        mask_channels=48,
        tower_depth=2,
        tower_width=64,
        kernel_channels=48,
        grids=(20, 18, 12, 8, 6),
        scale_ranges=_NANO_RANGES,
        imgsz=(256, 448),
        norm_groups=8,
        mask_norm="batch",
    ),
    **{f"solov2-light-{name}": replace(_LIGHT, backbone=BACKBONES[name]) for name in ("r18", "r34", "r50", "r101")},
    **{f"solov2-{name}": replace(_FULL, backbone=BACKBONES[name]) for name in ("r18", "r34", "r50", "r101")},
    # As AdelaiDet trains them: on the original Caffe backbones.
    **{
        f"solov2-{name}-caffe": replace(_FULL, backbone=replace(BACKBONES[name], stride_on="1x1"))
        for name in ("r50", "r101")
    },
    "solov2-r101-dcn": replace(_DEFORMED, backbone=replace(BACKBONES["r101"], deform="v2")),
    "solov2-x101-dcn": replace(_DEFORMED, backbone=replace(BACKBONES["x101"], deform="v2")),
    "solov2-light-512-dcn-r50": replace(_LIGHT_512, backbone=replace(_R50, deform="v1"), tower_deform="v1"),
    "solov2-light-512-dcnv2-r50": replace(
        _LIGHT_512, backbone=replace(_R50, deform="v2"), tower_deform="v2"
    ),  # mmdet's
}


class KernelHeads(NamedTuple):
    """Raw output of the network."""

    logits: list[Tensor]  # per level [B, C, S, S], before points NMS
    kernels: list[Tensor]  # per level [B, E, S, S]
    features: Tensor  # [B, E, H/4, W/4], not negative


class GridHead(nn.Module):
    """Class scores and dynamic kernels on S x S grids; weights shared by the five levels (section 3.2)."""

    def __init__(self, config: SoloV2Config, num_classes: int) -> None:
        super().__init__()
        self.grids = config.grids
        width, channels = config.tower_width, config.fpn_channels
        tower = partial(
            make_tower,
            width=width,
            depth=config.tower_depth,
            groups=config.norm_groups,
            deform=config.tower_deform,
            deformed=config.deformed,
        )
        self.cate_convs = tower(channels)
        self.kernel_convs = tower(channels + 2)
        self.solo_cate = make_prior_conv(width, num_classes, 3)
        self.solo_kernel = Conv2d(width, config.kernel_channels, 3, padding=1)
        nn.init.normal_(self.solo_kernel.weight, std=0.01)
        nn.init.zeros_(self.solo_kernel.bias)  # type: ignore[arg-type]

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        prepared = prepare_levels(levels)
        logits, kernels = [], []
        for x, coords in zip(self.grid_features(prepared), self.grid_coordinates(prepared), strict=True):
            kernels.append(self.solo_kernel(self.kernel_convs(with_coordinates(x, coords))))
            logits.append(self.solo_cate(self.cate_convs(x)))
        return logits, kernels

    def grid_features(self, prepared: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the features of each level on its grid, `[B, F, S, S]`."""
        return [resize(x, (grid, grid)) for x, grid in zip(prepared, self.grids, strict=True)]

    def grid_coordinates(self, prepared: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the coordinates of each level on its grid, `[1, 2, S, S]`.

        The paper appends them to the features before both are resized; being channels of their own, they may as well
        be resized by themselves.
        """
        return [
            resize(coordinates(x.shape[-2], x.shape[-1], x), (grid, grid))
            for x, grid in zip(prepared, self.grids, strict=True)
        ]


class MaskBranch(nn.Module):
    """Unified mask features at stride 4 (section 3.3.1): P2..P5 brought to one size, summed, mixed by a 1x1."""

    def __init__(self, config: SoloV2Config) -> None:
        super().__init__()
        hidden = config.mask_channels

        def norm(width: int) -> nn.Module:
            return nn.GroupNorm(config.norm_groups, width) if config.mask_norm == "group" else nn.BatchNorm2d(width)

        def steps(level: int) -> nn.ModuleList:
            first = config.fpn_channels + (2 if level == 3 else 0)
            sizes = [first, *[hidden] * max(0, level - 1)]
            return nn.ModuleList(ConvNorm(a, hidden, 3, norm(hidden), deform=config.mask_deform) for a in sizes)

        self.convs_all_levels = nn.ModuleList(steps(level) for level in range(4))
        out = config.kernel_channels
        self.conv_pred = ConvNorm(hidden, out, 1, norm(out), deform=config.mask_deform)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        p5 = levels[3]
        coords = coordinates(p5.shape[-2], p5.shape[-1], p5)
        return self.merge(levels, self.convs_all_levels[3][0](with_coordinates(p5, coords)))  # type: ignore[index]

    def merge(self, levels: tuple[Tensor, ...], p5: Tensor) -> Tensor:
        """Return the mask features from P2..P4 and what the first convolution made of P5 and its coordinates."""
        total = self.convs_all_levels[0][0](levels[0])  # type: ignore[index]
        for level in (1, 2, 3):
            x = p5 if level == 3 else levels[level]
            for i, conv in enumerate(self.convs_all_levels[level]):  # type: ignore[arg-type, var-annotated]
                x = x if level == 3 and i == 0 else conv(x)
                x = double(x)
            total = total + x
        return self.conv_pred(total)  # type: ignore[no-any-return]


class SoloV2(Network):
    """`forward` maps `float32 [B, 3, H, W]`, normalised RGB with H and W divisible by 32, to `KernelHeads`."""

    def __init__(self, config: SoloV2Config, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.imgsz = config, num_classes, config.imgsz
        self.backbone = ResNet(config.backbone)
        self.fpn = FPN(self.backbone.out_channels, config.fpn_channels)
        self.head = GridHead(config, num_classes)
        self.mask_branch = MaskBranch(config)

    def forward(self, images: Tensor) -> KernelHeads:
        levels = self.fpn(self.backbone(images))
        logits, kernels = self.head(levels)
        return KernelHeads(logits, kernels, self.mask_branch(levels))


BUILDERS = {name: partial(SoloV2, config) for name, config in VARIANTS.items()}
