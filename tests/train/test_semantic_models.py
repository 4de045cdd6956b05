"""The semantic zoo: sizes and costs, shapes, gradients, whether each network learns, and whether each one exports."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from solo_rt.spec import Provenance
from solo_rt.train.export.graph import parity, probe
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import semantic_graph
from solo_rt.train.losses.semantic import semantic_losses
from solo_rt.train.models import BUILDERS, build_model, solo, solov2
from solo_rt.train.models.semantic import FEW_ROWS, SemanticNetwork, require_divisible
from solo_rt.train.recipes import RECIPES, find_recipe


class Size(NamedTuple):
    """What the main output of a network is made from; auxiliary classifiers do not count."""

    classes: int
    parameters: int
    gmacs: float  # 1e9 multiply-accumulates of convolutions and matrix products at 480 x 480


# Those of "s" backbones are what Tramac's code bases and PyTorch-Encoding have, see the comments for other networks.
SIZES = {
    "fast-scnn": Size(19, 1_137_795, 0.738),  # between the two below: batch norm in the fusion, no biases there
    "fast-scnn-tramac": Size(19, 1_138_051, 0.737),
    "fast-scnn-leftthomas": Size(19, 1_137_539, 0.738),
    "fast-scnn-segmentron": Size(19, 1_153_283, 0.792),
    "fcn-32s": Size(21, 15_307_477, 70.60),
    "fcn-16s": Size(21, 15_318_250, 70.61),
    "fcn-8s": Size(21, 15_323_647, 70.63),
    "fcn-r50": Size(21, 32_957_013, 121.6),
    "fcn-r101": Size(21, 51_949_141, 189.8),
    "fcn-r50s": Size(21, 33_080_789, 127.8),
    "fcn-r101s": Size(21, 52_072_917, 196.0),
    "fcn-r50-torchvision": Size(21, 32_957_013, 121.6),
    "fcn-r101-torchvision": Size(21, 51_949_141, 189.8),
    "pspnet-r50": Size(21, 46_592_597, 155.7),
    "pspnet-r101": Size(21, 65_584_725, 223.9),
    "pspnet-r50s": Size(21, 46_716_373, 161.9),
    "pspnet-r101s": Size(21, 65_708_501, 230.1),
    # 0.37 M in the paper. Tramac's 0.355 M has no 3x3 in the blocks that halve the size, and skips one block.
    "enet": Size(19, 368_161, 1.762),
    # Tramac's 32.4 G runs two more stages on half of the picture and drops what they give.
    "icnet-r50": Size(19, 26_120_736, 10.59),
    "icnet-r50s": Size(19, 26_244_512, 12.535),
    "deeplabv3-r50": Size(21, 39_638_869, 143.8),
    "deeplabv3-r101": Size(21, 58_630_997, 212.0),
    "deeplabv3-r50s": Size(21, 39_762_645, 150.0),
    "deeplabv3-r101s": Size(21, 58_754_773, 218.2),
    "deeplabv3-r50-torchvision": Size(21, 39_638_869, 143.8),
    "deeplabv3-r101-torchvision": Size(21, 58_630_997, 212.0),
    "deeplabv3-plus-x65": Size(21, 41_055_413, 45.07),
    "deeplabv3-plus-x65-tramac": Size(21, 54_754_469, 213.0),
    "bisenet-r18": Size(19, 12_795_859, 11.395),
    "bisenet-r18-tramac": Size(19, 12_796_499, 11.395),
    "bisenet-r18-coincheung": Size(19, 13_275_539, 13.0),
    "denseaspp-d121": Size(19, 8_280_851, 33.92),  # the authors' code; Tramac's has other widths
    "denseaspp-d161": Size(19, 35_395_427, 136.17),
    "denseaspp-d121-tramac": Size(19, 9_196_051, 37.23),
    "denseaspp-d161-tramac": Size(19, 30_252_211, 117.72),
    "encnet-r50": Size(150, 33_565_494, 122.91),
    "encnet-r101": Size(150, 52_557_622, 191.10),
    "encnet-r50s": Size(150, 33_689_270, 129.13),
    "encnet-r101s": Size(150, 52_681_398, 197.32),
    "danet-r50": Size(19, 47_443_157, 183.10),
    "danet-r101": Size(19, 66_435_285, 251.29),
    "danet-r50s": Size(19, 47_566_933, 189.32),
    "danet-r101s": Size(19, 66_559_061, 257.51),
    "cgnet": Size(19, 496_325, 2.972),
    "cgnet-official": Size(19, 496_306, 2.972),  # without biases in the classifier
    "espnetv2": Size(19, 340_250, 0.736),  # Tramac's 2.16 M has a stage at 1/32 that gives nothing to the output
    "espnetv2-half": Size(19, 99_110, 0.2436),
    "espnetv2-wide": Size(19, 724_410, 1.470),
    "espnetv2-double": Size(19, 1_252_058, 2.485),
    # 0.94 M in the paper. Tramac's 2.33 M has 128 channels all through the attention pyramid.
    "lednet": Size(19, 922_821, 4.926),
    # Queries are the keys, computed once; no bias before a normalisation. With both, as in Tramac: 53.0 M and 206 G of
    # base-r101s, 57.9 M and 232 G of pyramid-r101s, 83.7 M and 309 G of asp-r101s.
    "ocnet-base-r50": Size(19, 33_875_795, 131.55),
    "ocnet-base-r101": Size(19, 52_867_923, 199.73),
    "ocnet-base-r50s": Size(19, 33_999_571, 137.77),
    "ocnet-base-r101s": Size(19, 52_991_699, 205.95),
    "ocnet-pyramid-r50": Size(19, 38_734_419, 156.19),
    "ocnet-pyramid-r101": Size(19, 57_726_547, 224.38),
    "ocnet-pyramid-r50s": Size(19, 38_858_195, 162.42),
    "ocnet-pyramid-r101s": Size(19, 57_850_323, 230.60),
    "ocnet-asp-r50": Size(19, 64_552_019, 234.18),
    "ocnet-asp-r101": Size(19, 83_544_147, 302.36),
    "ocnet-asp-r50s": Size(19, 64_675_795, 240.40),
    "ocnet-asp-r101s": Size(19, 83_667_923, 308.59),
    "dunet-r50": Size(21, 29_456_641, 109.01),
    "dunet-r101": Size(21, 48_448_769, 177.19),
    "dunet-r50s": Size(21, 29_580_417, 115.23),  # Tramac's has no temperature, one parameter
    "dunet-r101s": Size(21, 48_572_545, 183.42),
    "ccnet-r50": Size(19, 47_442_132, 175.43),
    "ccnet-r101": Size(19, 66_434_260, 243.61),
    "ccnet-r50s": Size(19, 47_565_908, 181.65),
    "ccnet-r101s": Size(19, 66_558_036, 249.83),
    # Tramac's 205 G compares maps of 60 x 60 as they are, and no other size; with two attentions that both collect.
    "psanet-r50": Size(21, 55_232_085, 173.62),
    "psanet-r101": Size(21, 74_224_213, 241.81),
    "psanet-r50s": Size(21, 55_355_861, 179.85),
    "psanet-r101s": Size(21, 74_347_989, 248.03),
}

FORBIDDEN = {"MaxUnpool", "NonZero", "Loop", "If", "GatherND", "ScatterND", "ScatterElements"}
# The same code with other numbers.
OTHER_BACKBONES = ("-r101", "-r50s", "-r101s", "-d161", "-d161-tramac", "-wide", "-double", "-torchvision")
one_of_each = pytest.mark.parametrize("name", [n for n in SIZES if not n.endswith(OTHER_BACKBONES)])
every_model = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.endswith(OTHER_BACKBONES) else n for n in SIZES]
)


def on_meta(name: str, classes: int = 3) -> nn.Module:
    """Return the network without memory: shapes and which tensor depends on which are all it knows."""
    with torch.device("meta"):
        return build_model(name, classes)


def test_training_can_make_logits_for_some_rows_and_columns_only() -> None:
    network, images = SemanticNetwork(), torch.zeros(1, 3, 64, 96)
    coarse = torch.arange(12.0).expand(1, 1, 8, 12)  # rises by 11 / 95 from column to column
    whole = network.eval().enlarge(coarse, images)
    torch.testing.assert_close(network.train().enlarge(coarse, images), whole)
    network.label_step = 2
    torch.testing.assert_close(network.enlarge(coarse, images), whole[:, :, ::2, ::2], atol=11 / 95, rtol=0)
    assert network.eval().enlarge(coarse, images).shape == whole.shape, "what is measured is whole"


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("rows", [5, FEW_ROWS + 1])
def test_logits_are_enlarged_alike_in_training_and_so_are_gradients(rows: int, align_corners: bool) -> None:
    network, images = SemanticNetwork(), torch.zeros(2, 3, 3 * rows, 24)
    torch.manual_seed(0)
    coarse, weights = torch.randn(2, 4, rows, 7).bfloat16(), torch.randn(2, 4, 3 * rows, 24)
    found = []
    for training in (False, True):
        given = (coarse if training else coarse.float()).clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=training):
            logits = network.train(training).enlarge(given, images, align_corners=align_corners)
        logits.backward(weights)
        assert given.grad is not None
        found.append((logits.detach(), given.grad.float()))
    (logits, gradient), (by_products, their_gradient) = found
    torch.testing.assert_close(by_products, logits)
    torch.testing.assert_close(their_gradient, gradient, rtol=2**-8, atol=1e-5)


def test_every_semantic_network_has_a_row() -> None:
    assert set(BUILDERS) - set(solo.BUILDERS) - set(solov2.BUILDERS) == set(SIZES)


@every_model
def test_costs(name: str) -> None:
    size = SIZES[name]
    model = on_meta(name, size.classes).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = model(torch.empty(1, 3, 480, 480, device="meta"))
    assert found.out.shape == (1, size.classes, 480, 480)
    assert (found.aux, found.presence) == ((), None), "further outputs are for training only"
    assert counter.get_total_flops() / 2e9 == pytest.approx(size.gmacs, rel=1e-3)


@every_model
def test_parameters(name: str) -> None:
    """As many as they should be for the main output, and none without a gradient from the loss.

    Data parallel training hangs or fails on a parameter that gets none.
    """
    size = SIZES[name]
    model = on_meta(name, size.classes).train()
    assert isinstance(model, SemanticNetwork)
    found = model(torch.empty(2, 3, 64, 64, device="meta"))
    assert found.out.shape == (2, size.classes, 64, 64)
    assert len(found.aux) == len(model.aux_weights)
    assert all(aux.shape[:2] == (2, size.classes) for aux in found.aux)
    assert found.presence is None or found.presence.shape == (2, size.classes)
    found.out.sum().backward(retain_graph=True)
    assert sum(p.numel() for p in model.parameters() if p.grad is not None) == size.parameters
    model.zero_grad(set_to_none=True)
    learnt = [*found.aux, *([] if found.guided else [found.out]), *([] if found.presence is None else [found.presence])]
    torch.stack([x.sum() for x in learnt]).sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@one_of_each
def test_shapes_at_the_smallest_size_at_1080p_and_at_odd_ones(name: str) -> None:
    model = on_meta(name).eval()
    divisor = model.size_divisor
    assert all(side % divisor == 0 for side in model.imgsz)
    smallest = max(32, divisor)
    for height, width in ((smallest, smallest), (-(-1080 // divisor) * divisor, 1920), (67, 93)):
        if height % divisor == 0 and width % divisor == 0:
            with torch.no_grad():
                found = model(torch.empty(2, 3, height, width, device="meta"))
            assert found.out.shape == (2, 3, height, width)


@one_of_each
def test_every_network_has_a_recipe_and_a_backbone_that_is_a_part_of_it(name: str) -> None:
    assert find_recipe(name, "voc:") in RECIPES
    model = on_meta(name)
    backbone = getattr(model, "backbone", None)
    assert backbone is None or 0 < len(list(backbone.parameters())) < len(list(model.parameters()))


def test_sizes_that_cannot_be_are_refused() -> None:
    require_divisible(torch.empty(1, 3, 24, 32), 8)
    with pytest.raises(ValueError, match="expected height and width divisible by 8, got 24x33; pad the picture"):
        require_divisible(torch.empty(1, 3, 24, 33), 8)


def quadrants(side: int = 64) -> tuple[Tensor, Tensor]:
    """Return a picture of four colours with noise, mirrored in all four ways, with the class of each pixel.

    With two of them alone, what a network pools into one value a picture would be normalised to plus or minus one,
    whichever is larger by a rounding: then a processor or a kernel decides whether it learns.
    """
    half = torch.arange(side) * 2 // side
    labels = 2 * half[:, None] + half
    colours = torch.tensor([[1.5, -1, -1], [-1, 1.5, -1], [-1, -1, 1.5], [1, 1, 1]])
    image = colours[labels].permute(2, 0, 1) + 0.3 * torch.randn(
        3, side, side, generator=torch.Generator().manual_seed(0)
    )
    ways: list[list[int]] = [[], [2], [1], [1, 2]]
    return torch.stack([image.flip(way) for way in ways]), torch.stack(
        [labels.flip([axis - 1 for axis in way]) for way in ways]
    ).to(torch.uint8)


def fit_statistics(model: nn.Module, images: Tensor) -> nn.Module:
    """Return the model in evaluation mode with the statistics of one batch, and no others, in its normalisations."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches, of which there is one
    with torch.no_grad():
        model.train()(images)
    return model.eval()


MOST_STEPS = 250  # most need 10 to 50, enet 110


@pytest.mark.slow
@one_of_each
def test_one_picture_can_be_learnt_by_heart(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, 4).train()
    images, labels = quadrants()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(MOST_STEPS):
        found = model(images)
        optimiser.zero_grad()
        semantic_losses(found, labels, aux_weights=model.aux_weights)["total"].backward()
        optimiser.step()
        if step % 10 == 9:
            fitted = fit_statistics(model, images)
            with torch.no_grad():
                right = fitted(images).out.argmax(1)
            ious = [
                float(((right == k) & (labels == k)).sum() / ((right == k) | (labels == k)).sum()) for k in range(4)
            ]
            if np.mean(ious) > 0.95:
                return
            model.train()
    pytest.fail(f"IoUs are {ious} after {MOST_STEPS} steps")


@pytest.mark.slow
@one_of_each
def test_every_network_exports_and_runs_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(name, 4)
    static = partial(
        semantic_graph, model, name, ("a", "b", "c", "d"), Provenance(), imgsz=(64, 96), batch=1, output="logits"
    )
    image = probe(static().spec)
    for parameter in model.parameters():
        if not parameter.any():  # the gates of attentions start closed, which would hide what is behind them
            nn.init.normal_(parameter, std=0.1)
    fit_statistics(model, torch.cat([image, image.flip(3)]))
    graph = static()
    write_graph(graph, tmp_path / "m.onnx")
    file = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(file, full_check=True)
    operators = Counter(node.op_type for node in file.graph.node)
    assert not FORBIDDEN & set(operators)
    assert all(len(node.output) == 1 for node in file.graph.node if node.op_type == "MaxPool"), "no indices"
    assert parity(graph, tmp_path / "m.onnx")["logits"] < 1e-3
    with torch.no_grad():
        labels = model(image).out.argmax(1)
    assert len(labels.unique()) > 1, "there is something to compare"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast-scnn", "pspnet-r50"])
def test_pyramids_export_as_matrix_products(name: str, tmp_path: Path) -> None:
    graph = semantic_graph(build_model(name, 2), name, ("a", "b"), Provenance(), imgsz=(64, 96), batch=1)
    write_graph(graph, tmp_path / "m.onnx")
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node)
    assert operators["MatMul"] == 6  # rows and columns of the bins 2, 3 and 6
    assert operators["Gather"] == 0
