"""Means over pictures, adaptive average pooling as two matrix products, and the pyramid of pooled maps built from it.

The bins of a pyramid do not divide most feature maps. Averaging over bins is linear in rows and in columns, so a pooled
map is `P_h X P_w^T` with constant matrices; that is exact, and exports as two MatMul nodes where the framework's own
operator becomes a hundred Gather nodes or none at all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.pixels import takes_pixels
from solo_rt.train.models.semantic import resize

BINS = (1, 2, 3, 6)  # PSPNet, section 3.2


def picture_mean(x: Tensor) -> Tensor:
    """Return the mean `[B, C, 1, 1]` of `x [B, C, H, W]` over each picture, as `x.mean((2, 3), keepdim=True)` does."""
    if x.requires_grad and takes_pixels(x):
        mean: Tensor = _PictureMean.apply(x)
        return mean
    return x.mean((2, 3), keepdim=True)


class _PictureMean(torch.autograd.Function):
    """From x to its means. PyTorch writes their gradient plane by plane: to add it to one of pixels takes long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        height, width = ctx.shape[2:]
        return (gradient / (height * width)).expand(ctx.shape)


def adaptive_average(x: Tensor, bins: int) -> Tensor:
    """Return `x [B, C, H, W]` averaged over `bins` x `bins` regions, as `F.adaptive_avg_pool2d(x, bins)` does."""
    if bins == 1:
        return picture_mean(x)
    h, w = x.shape[-2:]
    rows, columns = (_matrix(int(n), bins, x) for n in (h, w))
    return rows @ x @ columns.T  # [B, C, bins, bins]


def _matrix(size: int, bins: int, like: Tensor) -> Tensor:
    if like.device.type == "cpu":
        return torch.from_numpy(_averaging(size, bins)).to(like)
    return _device_matrix(size, bins, like.device, like.dtype)


@lru_cache(maxsize=256)
def _device_matrix(size: int, bins: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a matrix that stays on its device: copying it there would wait, which no CUDA graph can hold."""
    with torch.inference_mode(False):
        return torch.from_numpy(_averaging(size, bins)).to(device, dtype)


@lru_cache(maxsize=256)
def _averaging(size: int, bins: int) -> NDArray[np.float32]:
    """Return the matrix `[bins, size]` whose row i averages the elements floor(i n / k) to ceil((i + 1) n / k).

    No tensor: the exporter traces with tensors that hold no values, and one of those must not stay in the cache.
    """
    matrix = np.zeros((bins, size), np.float32)
    for i in range(bins):
        first, last = i * size // bins, -((i + 1) * size // -bins)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


class PyramidPooling(nn.Module):
    """The map beside four pooled versions of itself, mixed by one convolution (PSPNet, section 3.2)."""

    def __init__(self, channels: int, out: int, *, kernel: int = 1) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_norm(channels, channels // len(BINS)) for _ in BINS)
        self.out = conv_norm(2 * channels, out, kernel)

    def forward(self, x: Tensor) -> Tensor:
        pooled = (branch(adaptive_average(x, bins)) for bins, branch in zip(BINS, self.branches, strict=True))
        mixed: Tensor = self.out(torch.cat([x, *(resize(y, x) for y in pooled)], dim=1))
        return mixed  # [B, out, H, W]
