"""PReLU in training by our native kernel: one pass over memory each way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from solo_rt import _native
from solo_rt.train.models.parts.pixels import new_pixels, pixels_of, takes_pixels


class Prelu(nn.PReLU):
    """PReLU with one slope or one for each channel; while it learns on a CPU, of the type of the map it is given.

    For what is added or put side by side; behind a batch normalisation `Layers` computes both at once.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.weight.dtype != torch.float32 or not takes_pixels(x):
            return super().forward(x)
        y: Tensor = _Prelu.apply(x, self.weight.expand(x.shape[1]))
        return y


class _Prelu(torch.autograd.Function):
    """From x and the slopes `[C]` to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slopes: Tensor) -> Tensor:
        y = new_pixels(x, *x.shape[2:])
        ctx.slopes = slopes.detach().contiguous().numpy()
        ctx.save_for_backward(x)
        _native.prelu(pixels_of(x), ctx.slopes, pixels_of(y), torch.get_num_threads())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        dx = new_pixels(x, *x.shape[2:])
        dslopes = _native.prelu_gradient(
            pixels_of(x), pixels_of(dy), ctx.slopes, pixels_of(dx), torch.get_num_threads()
        )
        return dx, torch.from_numpy(dslopes)
