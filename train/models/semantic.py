"""What every semantic network returns, and what it says about itself."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class SemanticOutput(NamedTuple):
    """Logits of one batch."""

    out: Tensor  # [B, C, H, W], at the size of the input
    aux: tuple[Tensor, ...] = ()  # [B, C, h, w] of further classifiers, of any size; only in training mode
    presence: Tensor | None = None  # [B, C] logits of which classes occur at all (EncNet), only in training mode


@runtime_checkable
class SemanticNetwork(Protocol):
    """A network whose `forward` maps `float32 [B, 3, H, W]`, normalised RGB, to `SemanticOutput`."""

    num_classes: int
    size_divisor: int  # height and width must be divisible by it
    imgsz: tuple[int, int]  # height and width it is exported at unless told otherwise
    aux_weights: tuple[float, ...]  # weight in the loss of each tensor of `aux`
