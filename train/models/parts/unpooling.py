"""Max-pooling that remembers where each maximum was, and its inverse, from operations that every engine has.

The framework's own pair uses indices into the flattened map, which exporters turn into a scatter and TensorRT refuses.
Here a place is one of the four taps of a 2x2 window, and the inverse selects a tap and rearranges channels to pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def max_pool_taps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 2x2 maxima `[B, C, H/2, W/2]` of `x [B, C, H, W]`, H and W even, and their taps, `int64` in 0..3.

    Taps count row by row; of equal maxima the first one counts, as in `F.max_pool2d`.
    """
    taps = torch.stack([x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], dim=2)
    return F.max_pool2d(x, 2), taps.argmax(2)


def max_unpool(x: Tensor, taps: Tensor) -> Tensor:
    """Return `[B, C, 2h, 2w]`: each value of `x [B, C, h, w]` at its tap, zeros elsewhere, as `F.max_unpool2d` does."""
    places = torch.arange(4, device=x.device)[:, None, None]
    spread = torch.where(taps[:, :, None] == places, x[:, :, None], 0.0)  # [B, C, 4, h, w]
    return F.pixel_shuffle(spread.flatten(1, 2), 2)
