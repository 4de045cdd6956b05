"""A network in float16 on a GPU and, for SOLOv2, our kernels behind it: work that PyTorch's current stream takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine.kernels import Kernels, find_kernels
from solo_rt.errors import EngineError
from solo_rt.train.device_decoder import DeviceDecoder
from solo_rt.train.export.graph import StaticGraph
from solo_rt.train.models.deform_conv import DeformConv2d

# Note [Half precision in PyTorch]
# Convolutions and matrix products take float16 and add up in float32; their weights are stored as float16. All else is
# left to autocast, under which `solo-rt train --amp` trains as well: normalisation, softmax, norms, exponentials and
# grid_sample in float32; resizing, pooling and activations in the type of their input. Behind the network scores are
# float32 (see `points_nms`), kernels and mask features float16, their products float32, and areas and intersections
# of masks integers.
HALF_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, DeformConv2d)


class DeviceModel:
    """`compute` maps an input tensor to the outputs that `spec` describes, which stay on the device.

    SOLOv2 is decoded, so that its outputs are those of `DetectionsDecoder`, at addresses that never change; all other
    networks give what the graph gives. Nothing in it waits for the device: a CUDA graph can hold it.
    """

    def __init__(self, graph: StaticGraph, device: torch.device, *, library: Kernels | None = None) -> None:
        """Take over `graph`, whose module is changed. `library` is looked for where SOLOv2 needs it.

        Raises: EngineError without the library, or for weights that float16 cannot hold.
        """
        self.spec = graph.spec
        self._names, self._device = graph.outputs, device
        self._network = to_half(graph.module).to(device)
        self._decoder: DeviceDecoder | None = None
        if isinstance(graph.spec.decoder, SoloV2Decoder):
            size = graph.spec.input
            library = library or Kernels(find_kernels())
            heads = self._solov2_heads(torch.zeros(size.batch, 3, size.height, size.width, device=device))
            self._decoder = DeviceDecoder(library, graph.spec, heads)
            self.spec = self._decoder.spec

    def compute(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name, contiguous, of an `image float32 [B, 3, H, W]`. Raises: EngineError."""
        if self._decoder is not None:
            self._decoder.decode(*self._solov2_heads(image))
            return self._decoder.outputs
        found = self._forward(image)
        types = [getattr(torch, self.spec.decoder.output_type(name)) for name in self._names]
        return {name: x.to(kind).contiguous() for name, x, kind in zip(self._names, found, types, strict=True)}

    def _solov2_heads(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores, kernels, features = self._forward(image)
        return scores, kernels.half(), features.half().contiguous()

    def _forward(self, image: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, cache_enabled=False):
            found = self._network(image.contiguous(memory_format=torch.channels_last))
        return found if isinstance(found, tuple) else (found,)


def to_half(module: nn.Module) -> nn.Module:
    """Return `module`, changed in place: see Note [Half precision in PyTorch]. Raises: EngineError."""
    for name, layer in module.named_modules():
        if isinstance(layer, HALF_LAYERS):
            for parameter in layer.half().parameters():
                if not parameter.isfinite().all():
                    raise EngineError(f"half precision: a weight of {name!r} is beyond float16; run it on --device cpu")
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
