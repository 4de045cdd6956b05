"""The zoo: published parameter counts, output shapes, and the static twin."""

from __future__ import annotations

import pytest
import torch
from small import mask_logits
from torch.utils.flop_counter import FlopCounterMode

from solo_rt.errors import UsageError
from solo_rt.train.export.heads import flatten_levels, points_nms
from solo_rt.train.models import BUILDERS, build_model, is_semantic, solo, solov2
from solo_rt.train.models.parts.levels import coordinates
from solo_rt.train.models.parts.resnet import BACKBONES
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.models.solo import CellHeads
from solo_rt.train.models.solov2 import VARIANTS

# 80 classes. Millions of parameters: total, backbone, FPN, head and, of SOLOv2, mask branch; then the input size and
# 10^9 multiply-adds: total, backbone, FPN, head, mask branch. Deformable layers are counted with their offsets. The
# parts of variants nobody has published are those of their published relatives: a head costs the same on any backbone.
SIZES = {
    "solov2-nano": ((1.87, 1.30, 0.17, 0.22, 0.18), (256, 448), (1.5, 0.6, 0.4, 0.2, 0.4)),
    "solov2-light-r18": ((18.27, 11.18, 2.61, 2.85, 1.64), (448, 768), (51.5, 12.4, 17.5, 11.0, 10.6)),
    "solov2-light-r34": ((28.38, 21.28, 2.61, 2.85, 1.64), (448, 768), (64.2, 25.1, 17.5, 11.0, 10.6)),
    "solov2-light-r50": ((31.34, 23.51, 3.34, 2.85, 1.64), (448, 768), (69.1, 28.0, 19.5, 11.0, 10.6)),
    "solov2-light-r101": ((50.33, 42.50, 3.34, 2.85, 1.64), (448, 768), (94.5, 53.5, 19.5, 11.0, 10.6)),
    "solov2-light-512-dcn-r50": ((33.19, 24.09, 3.34, 4.11, 1.64), (512, 864), (91.7, 37.1, 25.1, 15.9, 13.6)),
    "solov2-light-512-dcnv2-r50": ((33.52, 24.38, 3.34, 4.15, 1.64), (512, 864), (92.4, 37.7, 25.1, 16.1, 13.6)),
    "solov2-r18": ((33.52, 11.18, 2.61, 18.08, 1.66), (800, 1344), (197.6, 38.9, 54.7, 70.0, 34.1)),
    "solov2-r34": ((43.63, 21.28, 2.61, 18.08, 1.66), (800, 1344), (237.3, 78.5, 54.7, 70.0, 34.1)),
    "solov2-r50": ((46.59, 23.51, 3.34, 18.08, 1.66), (800, 1344), (252.6, 87.6, 60.9, 70.0, 34.1)),
    "solov2-r50-caffe": ((46.59, 23.51, 3.34, 18.08, 1.66), (800, 1344), (247.6, 82.6, 60.9, 70.0, 34.1)),
    "solov2-r101": ((65.59, 42.50, 3.34, 18.08, 1.66), (800, 1344), (332.1, 167.1, 60.9, 70.0, 34.1)),
    "solov2-r101-caffe": ((65.59, 42.50, 3.34, 18.08, 1.66), (800, 1344), (327.2, 162.2, 60.9, 70.0, 34.1)),
    "solov2-r101-dcn": ((68.73, 44.43, 3.34, 18.95, 2.00), (800, 1344), (350.7, 175.6, 60.9, 73.4, 40.9)),
    "solov2-x101-dcn": ((113.42, 89.12, 3.34, 18.95, 2.00), (800, 1344), (540.3, 365.2, 60.9, 73.4, 40.9)),
    "solo-r18": ((23.23, 11.18, 2.61, 9.45), (800, 1344), (327.9, 38.9, 54.7, 234.4)),
    "solo-r34": ((33.34, 21.28, 2.61, 9.45), (800, 1344), (367.6, 78.5, 54.7, 234.4)),
    "solo-r50": ((36.30, 23.51, 3.34, 9.45), (800, 1344), (382.8, 87.6, 60.9, 234.4)),
    "solo-r101": ((55.29, 42.50, 3.34, 9.45), (800, 1344), (462.4, 167.1, 60.9, 234.4)),
    "decoupled-solo-r18": ((26.96, 11.18, 2.61, 13.18), (800, 1344), (465.9, 38.9, 54.7, 372.3)),
    "decoupled-solo-r34": ((37.07, 21.28, 2.61, 13.18), (800, 1344), (505.5, 78.5, 54.7, 372.3)),
    "decoupled-solo-r50": ((40.03, 23.51, 3.34, 13.18), (800, 1344), (520.8, 87.6, 60.9, 372.3)),
    "decoupled-solo-r101": ((59.02, 42.50, 3.34, 13.18), (800, 1344), (600.3, 167.1, 60.9, 372.3)),
    "decoupled-solo-light-r18": ((19.29, 11.18, 2.61, 5.50), (512, 864), (97.8, 16.0, 22.5, 59.3)),
    "decoupled-solo-light-r34": ((29.39, 21.28, 2.61, 5.50), (512, 864), (114.1, 32.3, 22.5, 59.3)),
    "decoupled-solo-light-r50": ((32.35, 23.51, 3.34, 5.50), (512, 864), (120.4, 36.0, 25.1, 59.3)),
    "decoupled-solo-light-r101": ((51.35, 42.50, 3.34, 5.50), (512, 864), (153.1, 68.8, 25.1, 59.3)),
    "decoupled-solo-light-dcn-r50": ((33.02, 24.09, 3.34, 5.58), (512, 864), (122.4, 37.1, 25.1, 60.2)),
}
PARTS = ("backbone", "fpn", "head", "mask_branch")
RELATIVES = ("-r34", "-r101", "-caffe", "-x101-dcn")  # of networks with the same parts


def test_every_instance_network_has_a_row() -> None:
    assert set(SIZES) == set(solo.BUILDERS) | set(solov2.BUILDERS)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.endswith(RELATIVES) else n for n in SIZES]
)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    parameters, size, work = SIZES[name]
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = build_model(name, 80)
        heads = model(torch.empty(1, 3, *size))
        if isinstance(heads, CellHeads):
            mask_logits(heads)  # the last layer of the masks, for all cells
    found = [model, *(getattr(model, part) for part in PARTS if hasattr(model, part))]
    assert tuple(round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for part in found) == parameters
    counts = counter.get_flop_counts()
    kind = type(model).__name__
    macs = {part: sum(counts[f"{kind}.{part}"].values()) / 2e9 for part in PARTS if hasattr(model, part)}
    total = counter.get_total_flops() / 2e9
    macs["head"] += total - sum(macs.values())  # what was counted outside of the network
    assert (total, *macs.values()) == pytest.approx(work, abs=0.06)


def test_every_head_comes_on_every_backbone() -> None:
    kinds = ("solo", "decoupled-solo", "decoupled-solo-light", "solov2", "solov2-light")
    assert {f"{kind}-{depth}" for kind in kinds for depth in ("r18", "r34", "r50", "r101")} <= set(BUILDERS)


def test_the_depth_of_a_resnet_is_in_its_name() -> None:
    layers = {"r18": 18, "r34": 34, "r50": 50, "r101": 101, "x101": 101}
    for name, config in BACKBONES.items():
        assert 2 + sum(config.depths) * (2 if config.block == "basic" else 3) == layers[name]


def test_unknown_models_are_named_with_the_known_ones() -> None:
    for ask in (lambda name: build_model(name, 1), is_semantic):
        with pytest.raises(UsageError, match=r"solov3.*solov2-nano"):
            ask("solov3")


@pytest.mark.parametrize("name", ["solov2-nano", "solo-r18", "fast-scnn", "enet"])
def test_a_network_says_of_what_kind_and_size_it_is(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 7)
    assert is_semantic(name) == isinstance(model, SemanticNetwork)
    assert model.num_classes == 7
    assert not any(side % model.size_divisor for side in model.imgsz)


@pytest.mark.parametrize("name", ["solov2-nano", "solov2-light-r18"])
def test_heads_have_the_documented_shapes(name: str) -> None:
    config = VARIANTS[name]
    model = build_model(name, 5).eval()
    with torch.inference_mode():
        heads = model(torch.zeros(2, 3, 64, 96))
    assert [tuple(x.shape) for x in heads.logits] == [(2, 5, s, s) for s in config.grids]
    assert [tuple(x.shape) for x in heads.kernels] == [(2, config.kernel_channels, s, s) for s in config.grids]
    assert tuple(heads.features.shape) == (2, config.kernel_channels, 16, 24)
    assert (heads.features >= 0).all()


def test_a_network_can_have_grids_of_its_own() -> None:
    grids = (9, 7, 5, 3, 2)
    usual, other = (build_model("solov2-nano", 5, grids=wanted).eval() for wanted in (None, grids))
    other.load_state_dict(usual.state_dict())  # the cells of SOLOv2 share all weights
    with torch.inference_mode():
        assert [x.shape[-1] for x in other(torch.zeros(1, 3, 64, 96)).logits] == list(grids)
    with torch.device("meta"):
        maps = build_model("solo-r18", 5, grids=grids).head.solo_ins_list  # type: ignore[union-attr]
    assert [conv.out_channels for conv in maps] == [81, 49, 25, 9, 4]  # type: ignore[union-attr]


@pytest.mark.parametrize("grids", [(9, 7, 5, 3), (9, 7, 5, 3, 0), (129, 7, 5, 3, 2)])
def test_grids_that_cannot_be_are_refused(grids: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="--grids: expected 5 numbers of 1 to 128"):
        build_model("solov2-nano", 5, grids=grids)
    with pytest.raises(UsageError, match="--grids are cells of networks of instances, enet labels pixels"):
        build_model("enet", 5, grids=grids)


def test_coordinates_run_from_minus_one_to_one_x_first() -> None:
    xy = coordinates(3, 5, torch.zeros(1))[0]
    assert xy[0, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert xy[1, :, 2].tolist() == [-1, 0, 1]


def points_nms_slowly(scores: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(scores)
    *_, h, w = scores.shape
    for i in range(h):
        for j in range(w):
            rivals = scores[..., max(0, i - 1) : i + 1, max(0, j - 1) : j + 1].amax((-2, -1))
            out[..., i, j] = torch.where(scores[..., i, j] >= rivals, scores[..., i, j], 0.0)
    return out


def test_points_nms_looks_up_and_left_only_and_lets_equals_live() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 6)
    logits[0, 0, 2:4, 2:4] = 1.5  # a plateau
    torch.testing.assert_close(points_nms(logits), points_nms_slowly(logits.sigmoid()))
    one = torch.tensor([[[[0.0, 1.0], [-1.0, 0.5]]]])
    assert (points_nms(one) > 0).tolist() == [[[[True, True], [False, False]]]]


def test_flattened_cells_run_level_by_level_row_by_row() -> None:
    levels = [torch.arange(2 * s * s).reshape(1, 2, s, s) for s in (3, 2)]
    flat = flatten_levels(levels)
    assert flat[0, :, 0].tolist() == [*range(9), *range(4)]
