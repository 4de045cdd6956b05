"""Training that feels the rounding of INT8: convolutions that round as `solo-rt quantize` will let them.

The convolutions keep their names, parameters and places, so that a checkpoint of such a run is like any other. Weights
are rounded per channel, which is the same before a batch normalisation is folded into them as after it. Its statistics
stay as they came: those of a batch would undo what rounding shifts, so that nothing would be learnt against it. Ranges
are those of the batch at hand: no state to keep.

Where that differs from the quantised file: the coordinates of a SOLO head are rounded with the features beside them,
and what passes by a convolution, such as a shortcut, is not rounded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from solo_rt.builder.quantise import LEAST_SIGNAL, WEIGHT_STEPS
from solo_rt.errors import UsageError
from solo_rt.train.export.fold import folded_pairs
from solo_rt.train.models.network import Network

STEPS = 127  # from 0 to the largest value, on either side
_TINY = torch.finfo(torch.float32).tiny  # of a range that holds zeros only


class RoundingConv2d(nn.Conv2d):
    """A convolution that, in training mode, sees its input in 255 steps and its weights in 129.

    Not where the steps are too few for the input, see Note [What stays in float32]. Gradients pass as if nothing had
    been rounded, but for values outside the range.
    """

    is_fine: Tensor  # bool, whether the last input was rounded

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        limit = typical_limit(x)
        self.is_fine = has_signal(x, limit)
        x = torch.where(self.is_fine, round_values(x, limit), x)
        weight = torch.where(self.is_fine, round_weights(self.weight), self.weight)
        return self._conv_forward(x, weight, self.bias)


def round_convolutions(model: Network, imgsz: tuple[int, int]) -> None:
    """Let the convolutions of `model` round, in place, that `solo-rt quantize` puts into INT8; any `imgsz` will do.

    Raises: UsageError where there are none.
    """
    quantised = quantised_convolutions(model, imgsz)
    if not quantised:
        raise UsageError("--qat: expected convolutions between the first and the last ones, there is nothing to round")
    ends = {getattr(parent, name): getattr(parent, norm) for parent, name, norm in folded_pairs(model)}
    for conv in quantised:
        conv.__class__ = RoundingConv2d  # as parametrisations of PyTorch do: whoever holds it holds the right one
        ends.get(conv, conv).register_forward_hook(_output_rounder(conv))  # type: ignore[arg-type]


def quantised_convolutions(model: Network, imgsz: tuple[int, int]) -> list[nn.Conv2d]:
    """Return the convolutions that `solo-rt quantize` considers: no first, last or depthwise one."""
    image = torch.zeros(1, 3, *imgsz, requires_grad=True)  # also what is frozen has a node then
    makers: dict[object, nn.Conv2d] = {}  # by the node of the graph of gradients
    first: set[nn.Conv2d] = set()

    def note(conv: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        makers[made.grad_fn] = conv
        if given[0] is image:
            first.add(conv)

    hooks = [conv.register_forward_hook(note) for conv in model.modules() if isinstance(conv, nn.Conv2d)]
    was_training = model.training
    try:
        outputs = model.eval()(image)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    kept = first | _last(outputs, makers)
    return [
        conv
        for conv in dict.fromkeys(makers.values())
        if conv not in kept and not conv.weight.shape[1] == 1 < conv.out_channels
    ]


def _last(outputs: object, makers: dict[object, nn.Conv2d]) -> set[nn.Conv2d]:
    """Return the convolutions from which an output can be reached without another one."""
    found: set[nn.Conv2d] = set()
    seen: set[object] = set()
    waiting = [tensor.grad_fn for tensor in _tensors(outputs)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in makers:
            found.add(makers[node])
        else:
            waiting.extend(before for before, _ in node.next_functions)
    return found


def _tensors(outputs: object) -> list[Tensor]:
    """Return the tensors of tuples and lists within each other."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in _tensors(part)] if isinstance(outputs, tuple | list) else []


def _output_rounder(conv: RoundingConv2d) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    """Return a hook that rounds what `conv`, and a batch normalisation behind it, made of an input that was rounded."""

    def round_output(module: nn.Module, given: tuple[Tensor], made: Tensor) -> Tensor:
        if not conv.training:
            return made
        return torch.where(conv.is_fine, round_values(made, typical_limit(made)), made)

    return round_output


def typical_limit(x: Tensor) -> Tensor:
    """Return the mean over the pictures of the largest values, or of the least ones where those are farther from 0."""
    inside = tuple(range(1, x.ndim))
    most, least = x.detach().amax(inside), x.detach().amin(inside)  # flattened, a map with channels last is a copy
    return torch.maximum(most.float().mean(), -least.float().mean())


def has_signal(x: Tensor, limit: Tensor) -> Tensor:
    """Return whether the 255 steps from `-limit` to `limit` are enough for `x`, as the quantiser sees it."""
    power = torch.linalg.vector_norm(x.detach(), dtype=torch.float32) ** 2 / x.numel()
    return power >= LEAST_SIGNAL * (limit / STEPS) ** 2 / 12


def round_values(x: Tensor, limit: Tensor) -> Tensor:
    """Return `x` in the 255 steps from `-limit` to `limit`."""
    scale = (limit / STEPS).clamp(min=_TINY)
    zero = torch.zeros((), dtype=torch.int32, device=x.device)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, -STEPS, STEPS)


def round_weights(weight: Tensor) -> Tensor:
    """Return `weight [O, I, h, w]` in 129 steps for each output channel, from minus its largest value to that."""
    scale = (weight.detach().abs().amax((1, 2, 3)) / WEIGHT_STEPS).clamp(min=_TINY)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -WEIGHT_STEPS, WEIGHT_STEPS)
