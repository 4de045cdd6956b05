"""Batch normalisation in training, with what activates it, by our native kernel: two passes over memory each way."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from solo_rt import _native
from solo_rt.train.models.parts.pixels import new_pixels, pixels_of, takes_pixels

Activation: TypeAlias = Literal["none", "relu", "prelu"]


def is_learning(norm: nn.Module, x: Tensor) -> bool:
    """Return whether `norm`, given `x`, is the plain batch normalisation of training that `batch_norm` computes.

    That is on a CPU, for maps with channels last, in float32 or bfloat16. Statistics over several processes, fixed ones
    and cumulative ones are PyTorch's.
    """
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.momentum is not None
        and norm.running_mean is not None
        and norm.weight.dtype == torch.float32
        and x.numel() > x.shape[1]  # of a single number per channel PyTorch says what is wrong
        and takes_pixels(x)
    )


def is_fusible(act: nn.Module | None) -> TypeGuard[nn.ReLU | nn.PReLU]:
    """Return whether `batch_norm` computes `act` as well."""
    return type(act) is nn.ReLU or (isinstance(act, nn.PReLU) and act.weight.dtype == torch.float32)


def norm_act(norm: nn.Module, act: nn.Module | None, x: Tensor) -> Tensor:
    """Return `act(norm(x))`, or `norm(x)` without one, at once where that is possible."""
    if isinstance(norm, nn.BatchNorm2d) and is_learning(norm, x) and (act is None or is_fusible(act)):
        return batch_norm(norm, x, act)
    y: Tensor = norm(x)
    return y if act is None else act(y)


def batch_norm(norm: nn.BatchNorm2d, x: Tensor, act: nn.ReLU | nn.PReLU | None = None) -> Tensor:
    """Return `act(norm(x))`, of the type of `x [B, C, H, W]`, where `is_learning` says so.

    Statistics are float32; running ones are updated. The same bits come out for any number of threads.
    """
    slopes = act.weight.expand(x.shape[1]) if isinstance(act, nn.PReLU) else None
    kind = "none" if act is None else "relu" if slopes is None else "prelu"
    y, mean, variance = _BatchNorm.apply(x, norm.weight, norm.bias, slopes, norm.eps, kind)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    return y


class _BatchNorm(torch.autograd.Function):
    """From x, gamma, beta and slopes to y, and to the mean and the variance, which have no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, slopes: Tensor | None, epsilon: float, activation: Activation
    ) -> tuple[Tensor, Tensor, Tensor]:
        y = new_pixels(x, *x.shape[2:])
        bends = None if slopes is None else slopes.detach().contiguous().numpy()
        statistics = _native.batch_norm(
            pixels_of(x), gamma.detach().numpy(), beta.detach().numpy(), epsilon, activation, bends, pixels_of(y),
            torch.get_num_threads(),
        )  # fmt: skip
        mean, variance = (torch.from_numpy(values) for values in statistics)
        ctx.save_for_backward(x, gamma, beta, mean, variance)
        ctx.epsilon, ctx.activation, ctx.bends = epsilon, activation, bends
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, *own = ctx.saved_tensors
        dx = new_pixels(x, *x.shape[2:])
        gamma, beta, mean, variance = (tensor.detach().numpy() for tensor in own)
        gradients = _native.batch_norm_gradient(
            pixels_of(x), pixels_of(dy), gamma, beta, mean, variance, ctx.epsilon, ctx.activation, ctx.bends,
            pixels_of(dx), torch.get_num_threads(),
        )  # fmt: skip
        dgamma, dbeta, dslopes = (torch.from_numpy(values) for values in gradients)
        return dx, dgamma, dbeta, None if ctx.bends is None else dslopes, None, None
