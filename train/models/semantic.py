"""What every semantic network returns, what it says about itself, and how it changes sizes."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.models.network import Network

FEW_ROWS = 128  # up to so many, enlarging by products is faster: its time goes with them


class SemanticOutput(NamedTuple):
    """Logits of one batch."""

    out: Tensor  # [B, C, H, W], at the size of the input; while training one of `label_step` rows and columns
    aux: tuple[Tensor, ...] = ()  # [B, C, h, w] of further classifiers, of any size; only in training mode
    presence: Tensor | None = None  # [B, C] logits of which classes occur at all (EncNet), only in training mode
    guided: bool = False  # only `aux` is learnt from, each map from labels brought to its own size (ICNet)


class SemanticNetwork(Network):
    """A network that gives every pixel a class: its `forward` returns a `SemanticOutput`."""

    size_divisor = 1
    imgsz = (512, 1024)
    aux_weights: tuple[float, ...] = ()  # weight in the loss of each tensor of `aux`
    label_step = 1  # training makes logits for one row and column in so many, where the network enlarges them

    def enlarge(self, logits: Tensor, images: Tensor, *, align_corners: bool = True) -> Tensor:
        """Return `logits [B, C, h, w]` at the size of `images`, or, in training mode, of its steps."""
        step = self.label_step if self.training else 1
        height, width = (side // step for side in images.shape[-2:])
        if self.training and logits.device.type == "cpu":
            # As the loss wants them, float32 and plane by plane: cheaper to make of the few than of the many.
            logits = logits.float().contiguous()
            if logits.shape[2] <= FEW_ROWS:
                return _enlarge_by_products(logits, height, width, align_corners=align_corners)
        return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=align_corners)


def _enlarge_by_products(x: Tensor, height: int, width: int, *, align_corners: bool) -> Tensor:
    """Return `x float32 [B, C, h, w]` bilinearly at another size: linear in rows and in columns, so two products.

    On a CPU that takes a third of the time of `F.interpolate`, nearly all of which is its gradient's.
    """
    with torch.autocast("cpu", enabled=False):
        rows, columns = (
            F.interpolate(torch.eye(before)[None], after, mode="linear", align_corners=align_corners)[0].T
            for before, after in zip(x.shape[2:], (height, width), strict=True)
        )  # [height, h], [width, w]
        return rows @ (x @ columns.T)  # [B, C, height, width]


def resize(x: Tensor, like: Tensor, *, align_corners: bool = True) -> Tensor:
    """Return `x [B, C, h, w]` bilinearly at the height and width of `like`: measured ones, so that any size will do.

    Trained weights depend on `align_corners`; nearly all published ones have it.
    """
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=align_corners)


def require_divisible(images: Tensor, divisor: int) -> None:
    """Refuse `images [B, C, H, W]` with a side that `divisor` does not divide. Raises: UsageError."""
    height, width = images.shape[-2:]
    if height % divisor or width % divisor:
        raise UsageError(f"expected height and width divisible by {divisor}, got {height}x{width}; pad the picture")
