"""A trained SOLOv2 as a static graph: the same numbers, fewer and simpler operations.

Batch normalisation is folded into the convolutions, the constant coordinate channels become constant maps added to a
narrower convolution, points NMS runs on the logits, and the five levels leave as one tensor. Composed from the parts of
the trained network; the network itself has no export mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.decoders import SoloV2Decoder
from solo_rt.spec import InputSpec, ModelSpec, Provenance
from solo_rt.train.data.samples import MASK_STRIDE
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import TOLERANCE, StaticGraph
from solo_rt.train.export.heads import fix_coordinates, flatten_levels, nms_margin, points_nms
from solo_rt.train.models.parts.levels import LEVEL_STRIDES, coordinates, prepare_levels
from solo_rt.train.models.solov2 import GridHead, MaskBranch, SoloV2


def solov2_graph(
    model: SoloV2,
    name: str,
    classes: tuple[str, ...],
    provenance: Provenance,
    *,
    imgsz: tuple[int, int],
    batch: int,
) -> StaticGraph:
    """Return the graph of a trained SOLOv2 for input of `imgsz` = height, width. Raises: SpecError for a bad size."""
    config = model.config
    spec = ModelSpec(
        name=name,
        input=InputSpec(*imgsz, batch=batch),
        decoder=SoloV2Decoder(grids=config.grids, level_strides=LEVEL_STRIDES, mask_stride=MASK_STRIDE),
        classes=classes,
        provenance=provenance,
    )

    def expected(image: Tensor) -> dict[str, Tensor]:
        heads = model(image)
        return {
            "scores": flatten_levels([points_nms(x) for x in heads.logits]),
            "kernels": flatten_levels(heads.kernels),
            "features": heads.features,
        }

    def decided(image: Tensor) -> dict[str, Tensor]:
        return {"scores": flatten_levels([nms_margin(x) for x in model(image).logits]).abs() > TOLERANCE}

    module = StaticSoloV2(model, torch.zeros(batch, 3, *imgsz))
    return StaticGraph(spec, module, ("scores", "kernels", "features"), expected, decided)


class StaticSoloV2(nn.Module):
    """`forward` returns (scores after points NMS, kernels, features) for input of exactly the shape of `image`."""

    def __init__(self, model: SoloV2, image: Tensor) -> None:
        super().__init__()
        model = fold_batch_norms(model)
        self.backbone, self.fpn = model.backbone, model.fpn
        with torch.no_grad():
            levels = self.fpn(self.backbone(image[:1]))
        self.head = StaticHead(model.head, levels)
        self.mask_branch = StaticMaskBranch(model.mask_branch, levels[3])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.fpn(self.backbone(image))
        logits, kernels = self.head(levels)
        scores = flatten_levels([points_nms(x) for x in logits])
        return scores, flatten_levels(kernels), self.mask_branch(levels)


class StaticHead(nn.Module):
    """GridHead with the coordinates of each level as a constant."""

    def __init__(self, head: GridHead, levels: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.head = head
        self.first_kernel_conv = fix_coordinates(head.kernel_convs[0], head.grid_coordinates(prepare_levels(levels)))

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        logits, kernels = [], []
        for place, x in enumerate(self.head.grid_features(prepare_levels(levels))):
            logits.append(self.head.solo_cate(self.head.cate_convs(x)))
            kernels.append(self.head.solo_kernel(self.head.kernel_convs[1:](self.first_kernel_conv(x, place))))
        return logits, kernels


class StaticMaskBranch(nn.Module):
    """MaskBranch with the coordinates of its last level as a constant."""

    def __init__(self, branch: MaskBranch, p5: Tensor) -> None:
        super().__init__()
        self.branch = branch
        coords = coordinates(p5.shape[-2], p5.shape[-1], p5)
        self.coord_conv = fix_coordinates(branch.convs_all_levels[3][0], [coords])  # type: ignore[index]

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        return self.branch.merge(levels, self.coord_conv(levels[3], 0))
