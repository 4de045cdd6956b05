"""SOLOv2 (Wang et al., NeurIPS 2020): a backbone, an FPN, the grid head and the unified mask-feature branch.

Variants differ in numbers only: `VARIANTS` is the whole zoo. The network returns raw tensors; targets and losses
(`train.losses`) and decoding (`solo_rt.decode`) are other modules that it does not know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.fpn import FPN
from solo_rt.train.models.resnet import BasicBlock, Bottleneck, ResNet

LEVEL_STRIDES = (8, 8, 16, 32, 32)  # strides of the features the five levels read
PRIOR = 0.01  # initial class probability (Focal loss, section 3.3)


@dataclass(frozen=True, slots=True)
class SoloV2Config:
    """The numbers of one variant."""

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, int, int, int]
    tower_depth: int
    tower_width: int
    kernel_channels: int  # E: channels of the dynamic kernels and of the mask features
    scale_ranges: tuple[tuple[float, float], ...]  # square root of the box area, pixels, inclusive, per level
    imgsz: tuple[int, int]  # height, width
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem: Literal["classic", "slim"] = "classic"
    fpn_channels: int = 256
    mask_channels: int = 128
    grids: tuple[int, ...] = (40, 36, 24, 16, 12)
    norm_groups: int = 32
    mask_norm: Literal["group", "batch"] = "group"


_FULL = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
_LIGHT = ((1, 56), (28, 112), (56, 224), (112, 448), (224, 896))
_NANO = ((1, 32), (16, 64), (32, 128), (64, 256), (128, 512))
_light = partial(
    SoloV2Config, tower_depth=2, tower_width=256, kernel_channels=128, scale_ranges=_LIGHT, imgsz=(448, 768)
)
_full = partial(
    SoloV2Config, tower_depth=4, tower_width=512, kernel_channels=256, scale_ranges=_FULL, imgsz=(768, 1344)
)

VARIANTS: dict[str, SoloV2Config] = {
    # Real time on a CPU: a third of the light variants' pixels, a quarter of their cells, slim everywhere. The mask
    # branch is normalised per batch, which folds into its convolutions; only the small towers keep GroupNorm.
    "solov2-nano": SoloV2Config(
        block="basic",
        depths=(1, 2, 2, 2),
        widths=(32, 64, 96, 160),
        stem="slim",
        fpn_channels=64,
        mask_channels=48,
        tower_depth=2,
        tower_width=64,
        kernel_channels=48,
        grids=(20, 18, 12, 8, 6),
        scale_ranges=_NANO,
        imgsz=(256, 448),
        norm_groups=8,
        mask_norm="batch",
    ),
    "solov2-light-r18": _light("basic", (2, 2, 2, 2)),
    "solov2-light-r34": _light("basic", (3, 4, 6, 3)),
    "solov2-light-r50": _light("bottleneck", (3, 4, 6, 3)),
    "solov2-r50": _full("bottleneck", (3, 4, 6, 3)),
    "solov2-r101": _full("bottleneck", (3, 4, 23, 3)),
}


class Heads(NamedTuple):
    """Raw output of the network."""

    logits: list[Tensor]  # per level [B, C, S, S], before points NMS
    kernels: list[Tensor]  # per level [B, E, S, S]
    features: Tensor  # [B, E, H/4, W/4], not negative


class ConvNorm(nn.Sequential):
    """Convolution without bias, normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int, norm: nn.Module) -> None:
        super().__init__(nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False), norm, nn.ReLU(inplace=True))
        nn.init.normal_(self[0].weight, std=0.01)  # type: ignore[arg-type]


def coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """Return CoordConv channels `[1, 2, height, width]`: x, then y, from -1 to 1 at the first and last pixel."""
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device).expand(1, 1, height, width)
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)[:, None].expand(1, 1, height, width)
    return torch.cat([x, y], dim=1)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `x` resized bilinearly with half-pixel centres and no antialiasing, as everywhere in this family."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class GridHead(nn.Module):
    """Class scores and dynamic kernels on S x S grids; weights shared by the five levels (section 3.2)."""

    def __init__(self, config: SoloV2Config, num_classes: int) -> None:
        super().__init__()
        self.grids = config.grids
        width, channels = config.tower_width, config.fpn_channels

        def tower(first: int) -> nn.Sequential:
            sizes = [first, *[width] * config.tower_depth]
            return nn.Sequential(*(ConvNorm(a, width, 3, nn.GroupNorm(config.norm_groups, width)) for a in sizes[:-1]))

        self.cate_convs = tower(channels)
        self.kernel_convs = tower(channels + 2)
        self.solo_cate = nn.Conv2d(width, num_classes, 3, padding=1)
        self.solo_kernel = nn.Conv2d(width, config.kernel_channels, 3, padding=1)
        nn.init.normal_(self.solo_cate.weight, std=0.01)
        nn.init.constant_(self.solo_cate.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.normal_(self.solo_kernel.weight, std=0.01)
        nn.init.zeros_(self.solo_kernel.bias)  # type: ignore[arg-type]

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        logits, kernels = [], []
        for x, coords in zip(self.grid_features(levels), self.grid_coordinates(levels), strict=True):
            x_coords = torch.cat([x, coords.expand(x.shape[0], -1, -1, -1)], dim=1)  # [B, F + 2, S, S]
            kernels.append(self.solo_kernel(self.kernel_convs(x_coords)))
            logits.append(self.solo_cate(self.cate_convs(x)))
        return logits, kernels

    def level_inputs(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the features the five levels read, at strides 8, 8, 16, 32 and 32."""
        p2, p3, p4, p5, p6 = levels
        return F.avg_pool2d(p2, 2), p3, p4, p5, resize(p6, (p5.shape[-2], p5.shape[-1]))

    def grid_features(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the features of each level on its grid, `[B, F, S, S]`."""
        return [resize(x, (grid, grid)) for x, grid in zip(self.level_inputs(levels), self.grids, strict=True)]

    def grid_coordinates(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the coordinates of each level on its grid, `[1, 2, S, S]`.

        The paper appends them to the features before both are resized; being channels of their own, they may as well
        be resized by themselves.
        """
        sizes = [(x.shape[-2], x.shape[-1]) for x in self.level_inputs(levels)]
        return [
            resize(coordinates(h, w, levels[0]), (grid, grid)) for (h, w), grid in zip(sizes, self.grids, strict=True)
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
            return nn.ModuleList(ConvNorm(a, hidden, 3, norm(hidden)) for a in sizes)

        self.convs_all_levels = nn.ModuleList(steps(level) for level in range(4))
        self.conv_pred = ConvNorm(hidden, config.kernel_channels, 1, norm(config.kernel_channels))

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        p5 = levels[3]
        coords = coordinates(p5.shape[-2], p5.shape[-1], p5)
        x_coords = torch.cat([p5, coords.expand(p5.shape[0], -1, -1, -1)], dim=1)
        return self.merge(levels, self.convs_all_levels[3][0](x_coords))  # type: ignore[index]

    def merge(self, levels: tuple[Tensor, ...], p5: Tensor) -> Tensor:
        """Return the mask features from P2..P4 and what the first convolution made of P5 and its coordinates."""
        total = self.convs_all_levels[0][0](levels[0])  # type: ignore[index]
        for level in (1, 2, 3):
            x = p5 if level == 3 else levels[level]
            for i, conv in enumerate(self.convs_all_levels[level]):  # type: ignore[arg-type, var-annotated]
                x = x if level == 3 and i == 0 else conv(x)
                x = resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))
            total = total + x
        return self.conv_pred(total)  # type: ignore[no-any-return]


class SoloV2(nn.Module):
    """`forward` maps `float32 [B, 3, H, W]`, normalised RGB with H and W divisible by 32, to `Heads`."""

    def __init__(self, config: SoloV2Config, num_classes: int) -> None:
        super().__init__()
        block = BasicBlock if config.block == "basic" else Bottleneck
        self.config = config
        self.num_classes = num_classes
        self.backbone = ResNet(block, config.depths, widths=config.widths, stem=config.stem)
        self.fpn = FPN(self.backbone.out_channels, config.fpn_channels)
        self.head = GridHead(config, num_classes)
        self.mask_branch = MaskBranch(config)

    def forward(self, images: Tensor) -> Heads:
        levels = self.fpn(self.backbone(images))
        logits, kernels = self.head(levels)
        return Heads(logits, kernels, self.mask_branch(levels))


BUILDERS = {name: partial(SoloV2, config) for name, config in VARIANTS.items()}
