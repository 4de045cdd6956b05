"""A trained SOLOv2 as a static graph: the same numbers, fewer and simpler operations.

Batch normalisation is folded into the convolutions, the constant coordinate channels become constant maps added to a
narrower convolution, points NMS runs on the logits, and the five levels leave as one tensor. Composed from the parts of
the trained network; the network itself has no export mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.decoders import SoloV2Decoder
from solo_rt.spec import InputSpec, ModelSpec, Provenance
from solo_rt.train.data.samples import MASK_STRIDE, MEAN, STD
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import TOLERANCE, StaticGraph
from solo_rt.train.models.solov2 import LEVEL_STRIDES, GridHead, MaskBranch, SoloV2, coordinates

NEVER = -1e4  # a logit that loses against everything


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
        input=InputSpec(*imgsz, mean=MEAN, std=STD, batch=batch),
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
        return {"scores": flatten_levels([_nms_margin(x) for x in model(image).logits]).abs() > TOLERANCE}

    module = StaticSoloV2(model, torch.zeros(batch, 3, *imgsz))
    return StaticGraph(spec, module, ("scores", "kernels", "features"), expected, decided)


def points_nms(logits: Tensor) -> Tensor:
    """Return the scores `[B, C, S, S]` of `logits` after points NMS.

    A cell keeps its score iff neither its upper, left nor upper-left neighbour is larger, otherwise it gets 0. The
    sigmoid being monotonic, the logits decide. Source: the released SOLOv2 code, a 2x2 max-pool with padding.
    """
    largest = F.max_pool2d(F.pad(logits, (1, 0, 1, 0), value=NEVER), 2, stride=1)
    return torch.where(logits >= largest, logits.sigmoid(), 0.0)


def flatten_levels(levels: list[Tensor]) -> Tensor:
    """Return maps `[B, X, S, S]` as `[B, cells, X]`: level by level, row-major."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)


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


class CoordConv(nn.Module):
    """A ConvNorm over features and coordinates as a narrower one over the features plus a constant map.

    `coords` holds one coordinate map `[1, 2, h, w]` per place the layer is used at; the weights are shared.
    """

    def __init__(self, layer: nn.Sequential, coords: list[Tensor]) -> None:
        super().__init__()
        conv, *rest = layer
        assert isinstance(conv, nn.Conv2d)
        width = conv.in_channels - 2
        self.features = nn.Conv2d(width, conv.out_channels, 3, padding=1, bias=False)
        self.features.weight = nn.Parameter(conv.weight[:, :width].detach())
        with torch.no_grad():
            maps = [F.conv2d(c, conv.weight[:, width:], conv.bias, padding=1) for c in coords]
        self.constants = nn.ParameterList(nn.Parameter(x) for x in maps)  # [1, out, h, w] each
        self.rest = nn.Sequential(*rest)

    def forward(self, x: Tensor, place: int) -> Tensor:
        return self.rest(self.features(x) + self.constants[place])  # type: ignore[no-any-return]


class StaticHead(nn.Module):
    """GridHead with the coordinates of each level as a constant."""

    def __init__(self, head: GridHead, levels: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.head = head
        self.first_kernel_conv = CoordConv(head.kernel_convs[0], head.grid_coordinates(levels))  # type: ignore[arg-type]

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        logits, kernels = [], []
        for place, x in enumerate(self.head.grid_features(levels)):
            logits.append(self.head.solo_cate(self.head.cate_convs(x)))
            kernels.append(self.head.solo_kernel(self.head.kernel_convs[1:](self.first_kernel_conv(x, place))))
        return logits, kernels


class StaticMaskBranch(nn.Module):
    """MaskBranch with the coordinates of its last level as a constant."""

    def __init__(self, branch: MaskBranch, p5: Tensor) -> None:
        super().__init__()
        self.branch = branch
        coords = coordinates(p5.shape[-2], p5.shape[-1], p5)
        self.coord_conv = CoordConv(branch.convs_all_levels[3][0], [coords])  # type: ignore[index]

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        return self.branch.merge(levels, self.coord_conv(levels[3], 0))


def _nms_margin(logits: Tensor) -> Tensor:
    """Return by how much each cell of `[B, C, S, S]` beats the largest of its upper, left and upper-left neighbours."""
    padded = F.pad(logits, (1, 0, 1, 0), value=NEVER)
    neighbours = (padded[..., :-1, :-1], padded[..., :-1, 1:], padded[..., 1:, :-1])
    return logits - torch.stack(neighbours).amax(0)
