"""OCNet (Yuan and Wang, arXiv 1809.00916): to each pixel what pixels like it show, on a dilated ResNet.

Three forms: `base` compares all pixels, `pyramid` also those of tiles alone, `asp` is a pyramid of dilations in which
the comparison takes the place of the mean of the picture.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.dilated_network import variants
from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.semantic import resize

WIDTH = 512
KEY_WIDTH = 256
TILES = (1, 2, 3, 6)
DILATIONS = (12, 24, 36)  # at stride 8


def attend(key: Tensor, value: Tensor, *, tiles: int) -> Tensor:
    """Return means of `value [B, C, H, W]` over the tile of each pixel, weighted by how alike the keys are.

    `key [B, D, H, W]`; the weights are the softmax of the products of keys, divided by the root of D. There are `tiles`
    rows and columns of tiles, the last of which takes what is left over.
    """
    rows, columns = (_bands(int(size), tiles) for size in value.shape[-2:])
    bands = []
    for across, m in rows:
        parts = [_attend_equal(key[..., across, down], value[..., across, down], m, n) for down, n in columns]
        bands.append(torch.cat(parts, dim=3))
    return torch.cat(bands, dim=2)


def _bands(size: int, tiles: int) -> list[tuple[slice, int]]:
    """Return where tiles are of equal size, and how many: all of them at once, or all but the last, and the last."""
    cut = size // tiles * (tiles - 1)
    if size % tiles == 0:
        return [(slice(0, size), tiles)]
    return [(slice(0, cut), tiles - 1), (slice(cut, size), 1)] if cut else [(slice(0, size), 1)]


def _attend_equal(key: Tensor, value: Tensor, m: int, n: int) -> Tensor:
    """Return `attend` for `m` rows of `n` tiles, all of one size: to the framework they are heads of one attention."""
    b, c, h, w = value.shape

    def split(x: Tensor) -> Tensor:
        x = x.reshape(b, -1, m, h // m, n, w // n)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(b, m * n, h * w // (m * n), -1)  # [B, tiles, pixels, channels]

    keys = split(key)
    means = F.scaled_dot_product_attention(keys, keys, split(value))
    means = means.reshape(b, m, n, h // m, w // n, c).permute(0, 5, 1, 3, 2, 4)
    return means.reshape(b, c, h, w)


class ObjectContext(nn.Module):
    """`attend` with learnt keys, which are the queries too, and values (section 3.2); at first it gives zeros."""

    def __init__(self, value_width: int, *, tiles: int = 1) -> None:
        super().__init__()
        self.tiles = tiles
        self.key = conv_norm(WIDTH, KEY_WIDTH)
        self.value = nn.Conv2d(WIDTH, value_width, 1)
        self.out = nn.Conv2d(value_width, WIDTH, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        context: Tensor = self.out(attend(self.key(x), self.value(x), tiles=self.tiles))
        return context


class ContextPyramid(nn.Module):
    """The map beside its contexts in tiles of several sizes, as wide as all of these, mixed to `WIDTH` channels."""

    def __init__(self, tiles: tuple[int, ...], value_width: int) -> None:
        super().__init__()
        many = len(tiles)
        self.contexts = nn.ModuleList(ObjectContext(value_width, tiles=side) for side in tiles)
        self.widen = conv_norm(WIDTH, many * WIDTH) if many > 1 else nn.Identity()
        self.mix = nn.Sequential(conv_norm(2 * many * WIDTH, WIDTH), nn.Dropout2d(0.05))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([self.widen(x), *(context(x) for context in self.contexts)], dim=1))
        return mixed


class HalvedContext(nn.Module):
    """The context of a map of half the height and width, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.context = ObjectContext(WIDTH)
        self.mix = nn.Sequential(conv_norm(WIDTH, WIDTH), nn.Dropout2d(0.05))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(resize(self.context(F.max_pool2d(x, 2)), x))
        return mixed


class AspContext(nn.Module):
    """The context, a 3x3 for each dilation and a 1x1, side by side, mixed to `WIDTH` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(conv_norm(channels, WIDTH, 3), HalvedContext()),
                *(conv_norm(channels, WIDTH, 3, dilation=dilation) for dilation in DILATIONS),
                conv_norm(channels, WIDTH),
            ]
        )
        self.mix = nn.Sequential(conv_norm(len(self.branches) * WIDTH, WIDTH), nn.Dropout2d(0.1))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([branch(x) for branch in self.branches], dim=1))
        return mixed


def pyramid_head(channels: int, num_classes: int, *, tiles: tuple[int, ...], value_width: int) -> nn.Sequential:
    """Return a 3x3 convolution, contexts in `tiles` of its output, and the classifier."""
    return nn.Sequential(
        conv_norm(channels, WIDTH, 3), ContextPyramid(tiles, value_width), nn.Conv2d(WIDTH, num_classes, 1)
    )


def asp_head(channels: int, num_classes: int) -> nn.Sequential:
    """Return the pyramid of dilations with a context, and the classifier."""
    return nn.Sequential(AspContext(channels), nn.Conv2d(WIDTH, num_classes, 1))


BUILDERS = {
    **variants("ocnet-base", partial(pyramid_head, tiles=(1,), value_width=256)),
    **variants("ocnet-pyramid", partial(pyramid_head, tiles=TILES, value_width=512)),
    **variants("ocnet-asp", asp_head),
}
