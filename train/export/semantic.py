"""A trained semantic network as a static graph that ends in labels or in logits.

Batch normalisation is folded into the convolutions. Labels are those of the largest logit at the size of the input:
logits are resized and then compared, because labels of coarse logits would coarsen every border. Composed around the
trained network; the network itself has no export mode.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from solo_rt.decoders import Rgb, SemanticDecoder
from solo_rt.render.palette import class_palette
from solo_rt.spec import InputSpec, ModelSpec, Provenance
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import TOLERANCE, StaticGraph
from solo_rt.train.models.semantic import SemanticNetwork

OutputKind = Literal["labels", "logits", "coarse"]


def semantic_graph(
    model: SemanticNetwork,
    name: str,
    classes: tuple[str, ...],
    provenance: Provenance,
    *,
    imgsz: tuple[int, int],
    batch: int,
    output: Literal["labels", "logits"] = "labels",
    palette: tuple[Rgb, ...] = (),
    unpainted: tuple[int, ...] = (),
) -> StaticGraph:
    """Return the graph of a trained network for input of `imgsz` = height, width, or a little more.

    Sides become the next multiples of the network's divisor: the run time pads pictures, so that 1080 lines fit 1088.
    No palette means the colours that instances have. Raises: SpecError for a size or a palette that cannot be.
    """
    height, width = (-(-side // model.size_divisor) * model.size_divisor for side in imgsz)
    colours = palette or class_palette(len(classes))
    spec = ModelSpec(
        name=name,
        input=InputSpec(height, width, batch=batch, divisor=model.size_divisor),
        decoder=SemanticDecoder(palette=colours, unpainted=unpainted, output=output),
        classes=classes,
        provenance=provenance,
    )

    def logits(image: Tensor) -> Tensor:
        out: Tensor = model(image).out
        return out

    def expected(image: Tensor) -> dict[str, Tensor]:
        return {output: logits(image) if output == "logits" else labels_of(logits(image))}

    def decided(image: Tensor) -> dict[str, Tensor]:
        return {} if output == "logits" else {"labels": _clear(logits(image))}

    return StaticGraph(spec, StaticSemantic(model, output), (output,), expected, decided)


class StaticSemantic(nn.Module):
    """`forward` returns the labels `uint8 [B, H, W]` or the logits `float32 [B, C, H, W]` of an image."""

    def __init__(self, model: nn.Module, output: Literal["labels", "logits"]) -> None:
        super().__init__()
        self.model = fold_batch_norms(model)
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(image).out
        return logits if self.output == "logits" else labels_of(logits)


def labels_of(logits: Tensor) -> Tensor:
    """Return the channel with the largest of the logits `[B, C, H, W]` as `uint8 [B, H, W]`, the first of equals."""
    return logits.argmax(1).to(torch.uint8)


def _clear(logits: Tensor) -> Tensor:
    """Return where the largest of the logits `[B, C, H, W]` beats the next by more than the tolerance."""
    best, index = logits.max(1, keepdim=True)
    second = logits.scatter(1, index, -torch.inf).amax(1, keepdim=True)
    return (best - second)[:, 0] > TOLERANCE * logits.abs().max()
