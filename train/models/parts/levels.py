"""What the five levels of every SOLO head read: the maps of the FPN brought to their strides, and coordinates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GRIDS = (40, 36, 24, 16, 12)  # cells along each side, of the released models
MOST_CELLS = 128  # along a side that a network may be given
LEVEL_STRIDES = (8, 8, 16, 32, 32)  # of the features the five levels read

# Square root of the box area in pixels, inclusive, per level: which objects a level is for. The released models.
FULL_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
LIGHT_512_RANGES = ((1, 64), (32, 128), (64, 256), (128, 512), (256, 2048))
LIGHT_448_RANGES = ((1, 56), (28, 112), (56, 224), (112, 448), (224, 896))


def prepare_levels(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return P2..P6 as the five levels read them, at strides 8, 8, 16, 32 and 32."""
    p2, p3, p4, p5, p6 = levels
    return F.avg_pool2d(p2, 2), p3, p4, p5, resize(p6, (p5.shape[-2], p5.shape[-1]))


def coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """Return CoordConv channels `[1, 2, height, width]`: x, then y, from -1 to 1 at the first and last pixel."""
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device).expand(1, 1, height, width)
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)[:, None].expand(1, 1, height, width)
    return torch.cat([x, y], dim=1)


def with_coordinates(x: Tensor, coords: Tensor) -> Tensor:
    """Return `x [B, F, h, w]` with the coordinates `[1, K, h, w]` as further channels behind its own."""
    return torch.cat([x, coords.expand(x.shape[0], -1, -1, -1)], dim=1)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `x` resized bilinearly with half-pixel centres and no antialiasing, as everywhere in this family."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def double(x: Tensor) -> Tensor:
    """Return `x` at twice its height and width."""
    return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))
