"""Deformable convolutions as one ONNX node each, instead of the operations that compute them in PyTorch."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.deform_conv import DeformConv2d

OPSET = 19  # the first with DeformConv


class DeformNode(nn.Module):
    """What a DeformConv2d is in an exported file; only the exporter can call it."""

    def __init__(self, conv: DeformConv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        offset, mask = conv.predict(x)
        out, k = conv.weight.shape[0], conv.kernel
        bias = torch.zeros(out) if conv.bias is None else conv.bias
        return torch.onnx.ops.symbolic(
            "DeformConv",
            (x, conv.weight, offset, bias, mask),
            {
                "kernel_shape": [k, k],
                "pads": [conv.padding] * 4,
                "strides": [conv.stride] * 2,
                "group": conv.groups,
                "offset_group": 1,
            },
            dtype=x.dtype,
            shape=(x.shape[0], out, *offset.shape[-2:]),
            version=OPSET,
        )


def with_deform_nodes(module: nn.Module) -> nn.Module:
    """Return `module`, or a copy of it with nodes in place of deformable convolutions where it has any."""
    if not any(isinstance(part, DeformConv2d) for part in module.modules()):
        return module
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, DeformConv2d):
                setattr(parent, name, DeformNode(child))
    return module
