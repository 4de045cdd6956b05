"""A network in float16 on a GPU, with our kernels in it and behind it: work that PyTorch's current stream takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from solo_rt.decoders import SoloV2Decoder
from solo_rt.errors import EngineError
from solo_rt.gpu.kernels import Kernels
from solo_rt.train.engine.decoder import DeviceDecoder
from solo_rt.train.engine.group_norm import fuse_group_norms
from solo_rt.train.export.graph import StaticGraph
from solo_rt.train.models.parts.deform_conv import DeformConv2d

# Note [Half precision in PyTorch]
# Layers of weights take float16 and add up in float32; their weights are stored as float16. All else is left to
# autocast, under which `solo-rt train --amp` trains as well: normalisation, softmax, sums, norms, exponentials and
# grid_sample in float32; resizing, pooling and activations in the type of their input. GroupNorm with a ReLU is a
# kernel of ours, whose maps are float16 and whose statistics are float32. Autocast also multiplies two computed
# tensors in float16, as attention does: what that gives nothing bounds, so these products are float32 here.
# Behind the network scores are float32 (see `points_nms`), kernels and mask features float16, their products float32,
# and areas and intersections of masks integers.
HALF_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, DeformConv2d)
PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm)


class DeviceModel:
    """`compute` writes `outputs`, the tensors that `spec` describes, from `image float32 [B, 3, H, W]`.

    All of them stay at their addresses on the device. SOLOv2 is decoded, so that its outputs are those of
    `DetectionsDecoder`; other networks give what their graph gives. Nothing here waits for the device once the model is
    there, and after two calls nothing allocates but PyTorch itself: a CUDA graph can hold it.
    """

    def __init__(self, graph: StaticGraph, device: torch.device, library: Kernels) -> None:
        """Take over `graph`, whose module is changed. Raises: EngineError for weights that float16 cannot hold."""
        self.spec = graph.spec
        fuse_group_norms(graph.module, library)
        self._network = to_half(graph.module).to(device)
        size = graph.spec.input
        self.image = torch.zeros(size.batch, 3, size.height, size.width, device=device)
        heads = self._forward()
        self._decoder: DeviceDecoder | None = None
        if isinstance(graph.spec.decoder, SoloV2Decoder):
            self._decoder = DeviceDecoder(library, graph.spec, self._solov2_heads(heads))
            self.spec, self.outputs = self._decoder.spec, self._decoder.outputs
        else:
            self.outputs = {
                name: torch.zeros(x.shape, dtype=getattr(torch, self.spec.decoder.output_type(name)), device=device)
                for name, x in zip(graph.outputs, heads, strict=True)
            }

    def compute(self) -> None:
        """Queue the work on one picture, or one batch of them. Raises: EngineError."""
        heads = self._forward()
        if self._decoder is not None:
            self._decoder.decode(*self._solov2_heads(heads))
            return
        for target, x in zip(self.outputs.values(), heads, strict=True):
            target.copy_(x)

    def _forward(self) -> tuple[Tensor, ...]:
        with torch.inference_mode(), half_precision(self.image.device):
            found = self._network(self.image.contiguous(memory_format=torch.channels_last))
        return found if isinstance(found, tuple) else (found,)

    @staticmethod
    def _solov2_heads(heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        scores, kernels, features = heads
        return scores, kernels.half(), features.half().contiguous()


class ExactProducts(TorchFunctionMode):
    """Computes products of two tensors in float32, whatever autocast would."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in PRODUCTS:
            return func(*args, **(kwargs or {}))
        first, second = args
        with torch.autocast(first.device.type, enabled=False):
            return func(first.float(), second.float())


@contextmanager
def half_precision(device: torch.device) -> Iterator[None]:
    """Let PyTorch compute as Note [Half precision in PyTorch] says."""
    with torch.autocast(device.type, torch.float16, cache_enabled=False), ExactProducts():
        yield


def to_half(module: nn.Module) -> nn.Module:
    """Return `module`, changed in place: see Note [Half precision in PyTorch]. Raises: EngineError."""
    for name, layer in module.named_modules():
        if isinstance(layer, HALF_LAYERS):
            for parameter in layer.half().parameters():
                if not parameter.isfinite().all():
                    raise EngineError(f"half precision: a weight of {name!r} is beyond float16; run it on --device cpu")
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
