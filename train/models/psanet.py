"""PSANet (Zhao et al., ECCV 2018): learnt weights between any two pixels, from where one is seen from the other.

Each pixel of a map tells one score for every offset. For what comes to a pixel it says how much it wants of the pixel
at an offset (collect), for what leaves a pixel how much the pixel at an offset should get of it (distribute).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.dilated_network import variants
from solo_rt.train.models.parts.convolution import conv_norm, pixel_classifier
from solo_rt.train.models.semantic import resize

WIDTH = 512
SHRINK = 2  # of the map, before it is compared with itself
REACH = 45  # offsets are -44..44 in both directions: all there are in a map of 713 x 713 pixels, shrunk to 1/16


def pair_scores(scores: Tensor) -> Tensor:
    """Return `[B, H*W, H*W]`: for each pixel and each other one the score that the first has for the offset of both.

    `scores [B, (2R-1)^2, H, W]`, rows of offsets first. The score of an offset beyond R - 1 is 0, as in the authors'
    CUDA operator, which does this element by element; here it is two rearrangements of memory.
    """
    b, offsets, h, w = scores.shape
    side = round(offsets**0.5)
    x = _to_places(scores.reshape(b, side, side, h, w).permute(0, 3, 1, 4, 2))  # [B, H, 2R-1, W, W]
    x = _to_places(x.permute(0, 3, 4, 1, 2))  # [B, W, W, H, H]
    return x.permute(0, 3, 1, 4, 2).reshape(b, h * w, h * w)


def _to_places(x: Tensor) -> Tensor:
    """Return `y [..., N, N]` with `y[i, j] = x[i, j - i]`, from `x [..., N, 2R-1]` whose offset 0 is in the middle.

    With 2N - 1 offsets, `y[i, j]` is element `i (2N - 2) + j` behind the middle of the first row: rows of `y` are the
    first halves of rows of that length.
    """
    *batch, n, offsets = x.shape
    middle = offsets // 2
    missing = max(n - 1 - middle, 0)
    x = F.pad(x, (missing, missing)) if missing else x[..., middle - (n - 1) : middle + n]  # [..., N, 2N-1]
    if n == 1:
        return x
    rows = x.flatten(-2)[..., n - 1 :][..., : n * (2 * n - 2)]
    return rows.reshape(*batch, n, 2 * n - 2)[..., :n]


class PointAttention(nn.Module):
    """What all pixels give to each, by `collect` or by distributing, at the size of the shrunk map (section 3.2)."""

    def __init__(self, channels: int, *, collect: bool) -> None:
        super().__init__()
        self.collect = collect
        self.reduce = conv_norm(channels, WIDTH)
        self.scores = nn.Sequential(conv_norm(WIDTH, WIDTH), nn.Conv2d(WIDTH, (2 * REACH - 1) ** 2, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        size = [-(-side // SHRINK) for side in (h, w)]
        x = F.interpolate(self.reduce(x), size=size, mode="bilinear", align_corners=True)
        scores = pair_scores(self.scores(x))
        if not self.collect:
            scores = scores.transpose(1, 2)
        weights = scores.softmax(2)  # [B, to, from]
        return (x.flatten(2) @ weights.transpose(1, 2)).reshape(b, WIDTH, *size)


class PointwiseSpatialAttention(nn.Module):
    """The map beside what is collected and distributed in it: twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(PointAttention(channels, collect=collect) for collect in (True, False))
        self.out = conv_norm(len(self.attentions) * WIDTH, channels)

    def forward(self, x: Tensor) -> Tensor:
        context = self.out(torch.cat([attention(x) for attention in self.attentions], dim=1))
        return torch.cat([x, resize(context, x)], dim=1)


def head(channels: int, num_classes: int) -> nn.Sequential:
    """Return the attention and a classifier on both the map and what it gives."""
    return nn.Sequential(PointwiseSpatialAttention(channels), pixel_classifier(2 * channels, WIDTH, num_classes))


BUILDERS = variants("psanet", head)
