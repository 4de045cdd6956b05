"""What every network says about itself."""

from __future__ import annotations

from torch import nn

from solo_rt.spec import DIVISOR


class Network(nn.Module):
    """A network whose `forward` maps `float32 [B, 3, H, W]`, normalised RGB, to the raw output of its family.

    What is inside an attribute `backbone`, if there is one, can start from weights trained on ImageNet.
    """

    num_classes: int
    size_divisor: int = DIVISOR  # height and width must be divisible by it
    imgsz: tuple[int, int]  # height and width it is exported at unless told otherwise
