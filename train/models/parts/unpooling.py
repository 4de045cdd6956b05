"""Max-pooling that remembers where each maximum was, and its inverse.

The framework's own pair uses indices into the flattened map, which exporters turn into a scatter and TensorRT refuses.
So a place is one of the four taps of a 2x2 window, and the inverse selects a tap and rearranges channels to pixels,
which every engine can. While a network learns on a CPU, the framework's pair takes a fifth of the time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def max_pool_places(x: Tensor, *, learning: bool) -> tuple[Tensor, Tensor]:
    """Return the 2x2 maxima `[B, C, H/2, W/2]` of `x [B, C, H, W]`, H and W even, and their places for `max_unpool`.

    Places are `int64`: taps in 0..3, row by row, or indices where they suffice. Of equal maxima the first one counts.
    """
    if _are_indices(x, learning=learning):
        return F.max_pool2d(x, 2, return_indices=True)
    a, b, c, d = (x[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
    # Taps are compared with each other: an engine that rounds what it pools has no tap that equals it.
    lower = torch.maximum(c, d) > torch.maximum(a, b)
    return F.max_pool2d(x, 2), torch.where(lower, torch.where(d > c, 3, 2), torch.where(b > a, 1, 0))


def max_unpool(x: Tensor, places: Tensor, *, learning: bool) -> Tensor:
    """Return `[B, C, 2h, 2w]`: each value of `x [B, C, h, w]` at its place, zeros elsewhere."""
    if _are_indices(x, learning=learning):
        with torch.autocast("cpu", enabled=False):  # which would make it float32
            return F.max_unpool2d(x, places, (2, 2))
    taps = torch.arange(4, device=x.device)[:, None, None]
    spread = torch.where(places[:, :, None] == taps, x[:, :, None], 0.0)  # [B, C, 4, h, w]
    return F.pixel_shuffle(spread.flatten(1, 2), 2)


def _are_indices(x: Tensor, *, learning: bool) -> bool:
    return learning and x.device.type == "cpu"
