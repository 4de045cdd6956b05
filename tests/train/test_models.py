"""The zoo: published parameter counts, output shapes, and the static twin."""

from __future__ import annotations

import pytest
import torch

from solo_rt.errors import UsageError
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.solov2 import StaticSoloV2, flatten_levels, points_nms
from solo_rt.train.models import build_model
from solo_rt.train.models.solov2 import VARIANTS, coordinates

# Millions, 80 classes: total, backbone, FPN, mask branch, head.
PARAMETERS = {
    "solov2-light-r18": (18.27, 11.18, 2.61, 1.64, 2.85),
    "solov2-light-r34": (28.38, 21.28, 2.61, 1.64, 2.85),
    "solov2-light-r50": (31.34, 23.51, 3.34, 1.64, 2.85),
    "solov2-r50": (46.59, 23.51, 3.34, 1.66, 18.08),
    "solov2-r101": (65.59, 42.50, 3.34, 1.66, 18.08),
}


def test_every_variant_has_a_published_size() -> None:
    assert set(VARIANTS) == {*PARAMETERS, "solov2-nano"}


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 80)
    parts = (model, model.backbone, model.fpn, model.mask_branch, model.head)
    counts = tuple(round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for part in parts)
    assert counts == PARAMETERS[name]


def test_unknown_models_are_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"solov3.*solov2-nano"):
        build_model("solov3", 1)


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


def test_coordinates_run_from_minus_one_to_one_x_first() -> None:
    xy = coordinates(3, 5, torch.zeros(1))[0]
    assert xy[0, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert xy[1, :, 2].tolist() == [-1, 0, 1]


def trained_looking(name: str) -> torch.nn.Module:
    """Return a model whose statistics, biases and logits are not those of a new one."""
    torch.manual_seed(1)
    model = build_model(name, 3)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor) * 0.1 * tensor.abs().mean())
    return model.eval()


@pytest.mark.parametrize(("name", "size"), [("solov2-nano", (64, 96)), ("solov2-light-r18", (64, 32))])
def test_the_static_graph_computes_the_same(name: str, size: tuple[int, int]) -> None:
    model = trained_looking(name)
    image = torch.randn(2, 3, *size)
    with torch.inference_mode():
        heads = model(image)
        scores, kernels, features = StaticSoloV2(model, image)(image)
    torch.testing.assert_close(kernels, flatten_levels(heads.kernels), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, heads.features, rtol=1e-4, atol=1e-5)
    expected = flatten_levels([points_nms(x) for x in heads.logits])
    assert ((scores - expected).abs() < 1e-4).float().mean() > 0.99  # the rest are points-NMS ties
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fold_batch_norms(model).modules())


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
