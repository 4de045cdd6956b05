"""A trained SOLO or Decoupled SOLO as a static graph: the same numbers, fewer and simpler operations.

As for SOLOv2, and the maps of SOLO's cells are not in the graph at all: the last layer of the masks leaves as kernels,
for the run time to apply where there are candidates. Composed from the parts of the trained network; the network itself
has no export mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.decoders import SoloDecoder
from solo_rt.spec import InputSpec, ModelSpec, Provenance
from solo_rt.train.data.samples import MASK_STRIDE
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import TOLERANCE, StaticGraph
from solo_rt.train.export.heads import fix_coordinates, flatten_levels, nms_margin, points_nms
from solo_rt.train.models.parts.levels import LEVEL_STRIDES, coordinates, prepare_levels
from solo_rt.train.models.solo import AxisHead, AxisHeads, CellHead, CellHeads, Solo, class_logits


def solo_graph(
    model: Solo,
    name: str,
    classes: tuple[str, ...],
    provenance: Provenance,
    *,
    imgsz: tuple[int, int],
    batch: int,
) -> StaticGraph:
    """Return the graph of a trained network for input of `imgsz` = height, width. Raises: SpecError for a bad size."""
    config = model.config
    spec = ModelSpec(
        name=name,
        input=InputSpec(*imgsz, batch=batch),
        decoder=SoloDecoder(config.masks, config.grids, LEVEL_STRIDES, mask_stride=MASK_STRIDE),
        classes=classes,
        provenance=provenance,
    )
    names = tuple(spec.output_shapes)

    def expected(image: Tensor) -> dict[str, Tensor]:
        return dict(zip(names, outputs_of(model(image)), strict=True))

    def decided(image: Tensor) -> dict[str, Tensor]:
        return {"scores": flatten_levels([nms_margin(x) for x in model(image).logits]).abs() > TOLERANCE}

    return StaticGraph(spec, StaticSolo(model, torch.zeros(batch, 3, *imgsz)), names, expected, decided)


def outputs_of(heads: CellHeads | AxisHeads) -> tuple[Tensor, ...]:
    """Return the tensors that `SoloDecoder` describes, in its order."""
    scores = flatten_levels([points_nms(x) for x in heads.logits])
    if isinstance(heads, CellHeads):
        kernels = torch.cat(heads.kernels).expand(scores.shape[0], -1, -1)  # [B, cells, F + 1]
        return scores, kernels, *heads.features
    return scores, *(torch.cat(pair, dim=1) for pair in zip(heads.x, heads.y, strict=True))


class StaticSolo(nn.Module):
    """`forward` returns the tensors of `outputs_of` for input of exactly the shape of `image`."""

    def __init__(self, model: Solo, image: Tensor) -> None:
        super().__init__()
        model = fold_batch_norms(model)
        self.backbone, self.fpn, self.head = model.backbone, model.fpn, model.head
        with torch.no_grad():
            prepared = prepare_levels(self.fpn(self.backbone(image[:1])))
        coords = [coordinates(x.shape[-2], x.shape[-1], x) for x in prepared]
        self.towers = nn.ModuleList(StaticTower(*parts) for parts in _towers(model.head, coords))
        if isinstance(model.head, CellHead):
            kernels = [kernel.detach() for kernel in model.head.kernels()]
            self.kernels = nn.ParameterList(nn.Parameter(kernel, requires_grad=False) for kernel in kernels)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        prepared = prepare_levels(self.fpn(self.backbone(image)))
        logits = class_logits(self.head, prepared)
        made = [tuple(tower(x, level) for tower in self.towers) for level, x in enumerate(prepared)]
        if isinstance(self.head, CellHead):
            return outputs_of(CellHeads(logits, [features for (features,) in made], list(self.kernels)))
        return outputs_of(AxisHeads(logits, *self.head.maps([(towers[0], towers[-1]) for towers in made])))


class StaticTower(nn.Module):
    """A tower whose first layer knows the coordinates of every level."""

    def __init__(self, tower: nn.Sequential, coords: list[Tensor]) -> None:
        super().__init__()
        self.first, self.rest = fix_coordinates(tower[0], coords), tower[1:]

    def forward(self, x: Tensor, level: int) -> Tensor:
        return self.rest(self.first(x, level))  # type: ignore[no-any-return]


def _towers(head: CellHead | AxisHead, coords: list[Tensor]) -> list[tuple[nn.Sequential, list[Tensor]]]:
    """Return the mask towers of a head, each with the coordinates that it sees."""
    if isinstance(head, CellHead) or head.shared_tower:
        return [(head.ins_convs, coords)]
    return [(head.ins_convs_x, [c[:, :1] for c in coords]), (head.ins_convs_y, [c[:, 1:] for c in coords])]
