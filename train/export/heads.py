"""What the static forms of all SOLO heads have in common."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.deform_conv import DeformConv2d
from solo_rt.train.models.parts.levels import with_coordinates

NEVER = -1e4  # a logit that loses against everything


def points_nms(logits: Tensor) -> Tensor:
    """Return the scores `[B, C, S, S]` of `logits` after points NMS.

    A cell keeps its score iff neither its upper, left nor upper-left neighbour is larger, otherwise it gets 0. The
    sigmoid being monotonic, the logits decide. Scores are float32 also of float16 logits: there are but 1024 float16
    numbers in 0.5..1, and ties would decide which candidate is better. Source: the released SOLOv2 code, a 2x2 max-pool
    with padding.
    """
    largest = F.max_pool2d(F.pad(logits, (1, 0, 1, 0), value=NEVER), 2, stride=1)
    return torch.where(logits >= largest, logits.float().sigmoid(), 0.0)


def flatten_levels(levels: list[Tensor]) -> Tensor:
    """Return maps `[B, X, S, S]` as `[B, cells, X]`: level by level, row-major."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)


def nms_margin(logits: Tensor) -> Tensor:
    """Return by how much each cell of `[B, C, S, S]` beats the largest of its upper, left and upper-left neighbours."""
    padded = F.pad(logits, (1, 0, 1, 0), value=NEVER)
    neighbours = (padded[..., :-1, :-1], padded[..., :-1, 1:], padded[..., 1:, :-1])
    return logits - torch.stack(neighbours).amax(0)


def fix_coordinates(layer: nn.Module, coords: list[Tensor]) -> nn.Module:
    """Return a ConvNorm over features and coordinates as one over features whose coordinates are constants.

    `coords` holds one map `[1, K, h, w]` per place the layer is used at, with the same weights; the new module is
    called with features and the number of the place.
    """
    assert isinstance(layer, nn.Sequential)
    return (DeformedCoordConv if isinstance(layer[0], DeformConv2d) else CoordConv)(layer, coords)


class CoordConv(nn.Module):
    """A narrower convolution over the features alone, to which a constant map is added."""

    def __init__(self, layer: nn.Sequential, coords: list[Tensor]) -> None:
        super().__init__()
        conv, *rest = layer
        assert isinstance(conv, nn.Conv2d)
        width = conv.in_channels - coords[0].shape[1]
        self.features = nn.Conv2d(width, conv.out_channels, 3, padding=1, bias=False)
        self.features.weight = nn.Parameter(conv.weight[:, :width].detach())
        with torch.no_grad():
            maps = [F.conv2d(c, conv.weight[:, width:], conv.bias, padding=1) for c in coords]
        self.constants = nn.ParameterList(nn.Parameter(x) for x in maps)  # [1, out, h, w] each
        self.rest = nn.Sequential(*rest)

    def forward(self, x: Tensor, place: int) -> Tensor:
        return self.rest(self.features(x) + self.constants[place])  # type: ignore[no-any-return]


class DeformedCoordConv(nn.Module):
    """A deformable convolution reads its coordinates where its offsets say, so they stay channels of its input."""

    def __init__(self, layer: nn.Sequential, coords: list[Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.coords = nn.ParameterList(nn.Parameter(c) for c in coords)

    def forward(self, x: Tensor, place: int) -> Tensor:
        return self.layer(with_coordinates(x, self.coords[place]))  # type: ignore[no-any-return]
