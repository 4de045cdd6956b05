"""Maps of PyTorch as the native kernels of training take them: numpy arrays with channels last, or plane by plane."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def takes_pixels(x: Tensor) -> bool:
    """Return whether the kernels take `x [B, C, H, W]` as it is: on a CPU, float32 or bfloat16, channels last."""
    return _takes_numbers(x) and x.is_contiguous(memory_format=torch.channels_last)


def takes_planes(x: Tensor) -> bool:
    """Return whether those kernels that know planes take `x [B, C, H, W]` as it is: as above, but plane by plane."""
    return _takes_numbers(x) and x.is_contiguous()


def pixels_of(x: Tensor) -> NDArray[Any]:
    """Return `x [B, C, H, W]` as `[B, H, W, C]`, a view if its channels are last; bfloat16 as int16, bit by bit."""
    return planes_of(x.permute(0, 2, 3, 1))


def planes_of(x: Tensor) -> NDArray[Any]:
    """Return `x` in its shape, a view if it is contiguous; bfloat16 as int16, bit by bit."""
    planes = x.detach().contiguous()
    return (planes.view(torch.int16) if planes.dtype == torch.bfloat16 else planes).numpy()


def new_pixels(like: Tensor, height: int, width: int) -> Tensor:
    """Return a tensor `[B, C, height, width]`, channels last, of what else `like` is, for a kernel to write."""
    size = (*like.shape[:2], height, width)
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _takes_numbers(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and not torch.compiler.is_compiling()
