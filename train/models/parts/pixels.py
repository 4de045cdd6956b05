"""Maps of PyTorch as the native kernels of training take them: numpy arrays with channels last."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def takes_pixels(x: Tensor) -> bool:
    """Return whether the kernels take `x [B, C, H, W]` as it is: on a CPU, float32 or bfloat16, channels last."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )


def pixels_of(x: Tensor) -> NDArray[Any]:
    """Return `x [B, C, H, W]` as `[B, H, W, C]`, a view if its channels are last; bfloat16 as int16, bit by bit."""
    pixels = x.detach().permute(0, 2, 3, 1).contiguous()
    return (pixels.view(torch.int16) if pixels.dtype == torch.bfloat16 else pixels).numpy()


def new_pixels(like: Tensor, height: int, width: int) -> Tensor:
    """Return a tensor `[B, C, height, width]`, channels last, of what else `like` is, for a kernel to write."""
    size = (*like.shape[:2], height, width)
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
