"""Losses against their definitions for every head, and the batch without objects."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import CONFIGS, make_small, mask_logits
from torch import Tensor

from solo_rt.train.data.samples import Batch, collate
from solo_rt.train.data.world_dataset import WorldDataset
from solo_rt.train.losses.instances import Losses, dice_loss, focal_loss, instance_losses, solo_losses
from solo_rt.train.losses.predictions import Heads, raw_tensors
from solo_rt.train.losses.targets import assign
from solo_rt.train.models.solo import AxisHeads, CellHeads
from solo_rt.train.models.solov2 import KernelHeads

SIZE = (64, 96)
KINDS = ("solov2", "solo", "decoupled-solo", "decoupled-solo-light")


def make_batch(*, objects: bool = True) -> Batch:
    """Return three pictures, the second without objects; or, without `objects`, all without."""
    data = WorldDataset(seed=0, imgsz=SIZE)
    samples = [s for s in (data.sample(i, np.random.default_rng(i)) for i in range(12)) if len(s.labels)]
    batch = collate(samples[:3], imgsz=SIZE)
    keep = (batch.image_index != 1) if objects else torch.zeros(len(batch.labels), dtype=torch.bool)
    rest = (getattr(batch, name)[keep] for name in batch.__slots__[1:])
    # Not in channels-last: there PyTorch 2.13 corrupts its heap in strided 1x1 convolutions of less than 16 channels.
    batch = Batch(batch.images.contiguous(), *rest)
    return replace(batch, labels=batch.labels % 3)


def losses_of(kind: str, batch: Batch, **options: Any) -> tuple[torch.nn.Module, Heads, Losses]:
    model = make_small(kind)
    outputs = model(batch.images)
    return model, outputs, instance_losses(model, outputs, batch, imgsz=SIZE, **options)


def test_focal_loss_is_its_formula() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-3.0, 4.0]])
    owner = torch.tensor([0, -1, 1])
    expected = 0.0
    for row, label in zip(logits.tolist(), owner.tolist(), strict=True):
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x))
            expected -= 0.25 * (1 - p) ** 2 * math.log(p) if c == label else 0.75 * p**2 * math.log(1 - p)
    assert float(focal_loss(logits, owner)) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_stays_finite_at_extreme_logits() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def dice_slowly(p: Tensor, q: Tensor) -> Tensor:
    return 1 - 2 * (p * q).sum() / (((p * p).sum() + 0.001) + ((q * q).sum() + 0.001))


def test_dice_loss_at_its_ends() -> None:
    zero, one, four = torch.zeros(1), torch.ones(1), torch.full((1,), 4.0)
    assert dice_loss(four, four, four) == pytest.approx(0, abs=1e-3)
    assert dice_loss(zero, four, four) == 1
    assert torch.isfinite(dice_loss(zero, zero, zero)).all()
    # 1 - 2 * 0.5 / (0.25 + 1) for one pixel half right
    assert dice_loss(one / 2, one / 4, one) == pytest.approx(0.2, abs=2e-3)


def mask_of(heads: Heads, maps: list[Tensor], picture: int, level: int, cell: int) -> Tensor:
    """Probabilities `[h, w]` of the mask of one cell of a level, as the papers have them."""
    grid = heads.logits[level].shape[-1]
    row, column = divmod(cell, grid)
    if isinstance(heads, CellHeads):
        return torch.sigmoid(maps[level][picture, cell])
    if isinstance(heads, AxisHeads):
        return torch.sigmoid(heads.x[level][picture, column]) * torch.sigmoid(heads.y[level][picture, row])
    kernel = heads.kernels[level][picture, :, row, column]
    return torch.sigmoid((kernel[:, None, None] * heads.features[picture]).sum(0))


def losses_slowly(kind: str, heads: Heads, batch: Batch) -> tuple[Tensor, Tensor]:
    """Focal and mask loss by going from object to object, level to level and cell to cell."""
    config = CONFIGS[kind]
    targets = assign(batch, grids=config.grids, scale_ranges=config.scale_ranges)
    cells = sum(grid**2 for grid in config.grids)
    taught = sorted(
        zip(targets.pair_cell.tolist(), targets.pair_object.tolist(), strict=True), key=lambda pair: pair[1]
    )
    owner = dict(taught)  # later objects overwrite earlier ones
    if kind != "solov2":
        taught = list(owner.items())
    maps = mask_logits(heads) if isinstance(heads, CellHeads) else []
    dice = []
    for cell, g in taught:
        picture, place = divmod(cell, cells)
        level = 0
        while place >= config.grids[level] ** 2:
            place -= config.grids[level] ** 2
            level += 1
        p = mask_of(heads, maps, picture, level, place)
        dice.append(dice_slowly(p, batch.masks_at(SIZE[1] // p.shape[1])[g].float()))
    logits = torch.cat([x.flatten(2) for x in heads.logits], 2).transpose(1, 2).flatten(0, 1)
    wanted = torch.zeros_like(logits)
    for cell, g in owner.items():
        wanted[cell, batch.labels[g]] = 1
    p = logits.sigmoid()
    weight = torch.where(wanted > 0, 0.25 * (1 - p) ** 2, 0.75 * p**2)
    focal = (weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")).sum() / (len(owner) + 1)
    return focal, 3 * torch.stack(dice).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_their_gradients_are_those_of_the_slow_twin(kind: str) -> None:
    batch = make_batch()
    assert len(set(batch.image_index.tolist())) == 2
    gradients = []
    for slow in (False, True):
        model = make_small(kind, trained=True)
        outputs = model(batch.images)
        if slow:
            focal, dice = losses_slowly(kind, outputs, batch)
        else:
            losses = instance_losses(model, outputs, batch, imgsz=SIZE)
            focal, dice = losses.focal, losses.dice
            torch.testing.assert_close(losses.total, focal + dice)
        (focal + dice).backward()
        gradients.append((focal.detach(), dice.detach(), [p.grad for p in model.parameters()]))
    (focal, dice, found), (slow_focal, slow_dice, expected) = gradients
    torch.testing.assert_close(focal, slow_focal, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dice, slow_dice, rtol=1e-5, atol=1e-6)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_has_a_mask_loss_of_almost_three(kind: str) -> None:
    model, _, losses = losses_of(kind, make_batch())
    losses.total.backward()
    assert 2.3 < losses.dice < 3.0
    assert 0 <= losses.mean_iou < 0.5
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_objects_has_a_zero_mask_loss_and_a_gradient(kind: str) -> None:
    model, outputs, losses = losses_of(kind, make_batch(objects=False))
    for tensor in raw_tensors(outputs):
        tensor.retain_grad()
    losses.total.backward()
    assert losses.dice == 0
    assert torch.isfinite(losses.total)
    assert all(t.grad is not None and not t.grad.any() for t in raw_tensors(outputs))
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_no_level_are_as_good_as_none(kind: str) -> None:
    batch = make_batch()
    side = min(low for low, _ in CONFIGS[kind].scale_ranges) / 2
    too_small = replace(batch, boxes=torch.tensor([[0, 0, side, side]] * len(batch.boxes)))
    model, _, losses = losses_of(kind, too_small)
    losses.total.backward()
    assert losses.dice == losses.mean_iou == 0
    assert torch.isfinite(losses.total)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_no_object_is_too_large() -> None:
    """A bus along a picture that is eight times as wide as it is high."""
    batch = make_batch()
    side = 2.0 * max(high for _, high in CONFIGS["solov2"].scale_ranges)
    huge = replace(batch, boxes=torch.tensor([[0, 0, side, side]] * len(batch.boxes)))
    _, _, losses = losses_of("solov2", huge)
    assert losses.dice > 0


def undecided_heads(kind: str) -> tuple[Heads, float]:
    """Return outputs of 0 for a picture of 64x128 and grids of 4 and 2, and the probability that every mask has."""
    logits = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)]
    if kind == "solov2":
        return KernelHeads(logits, [torch.zeros(1, 3, s, s) for s in (4, 2)], torch.ones(1, 3, 16, 32)), 0.5
    if kind == "solo":
        features = [torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 4, 8)]  # half as large as the masks
        return CellHeads(logits, features, [torch.zeros(s * s, 4) for s in (4, 2)]), 0.5
    maps = [torch.zeros(1, 4, 16, 32), torch.zeros(1, 2, 8, 16)]
    return AxisHeads(logits, maps, maps), 0.25


@pytest.mark.parametrize("kind", ["solov2", "solo", "decoupled-solo"])
def test_losses_that_can_be_worked_out_by_hand(kind: str) -> None:
    """Two small objects share a cell of the first level, a large one has a cell of the second to itself."""
    areas = {4: (4, 9, 49), 8: (1, 2, 16), 16: (0, 1, 4)}  # of the mask targets of the three, by stride
    masks = {}
    for stride, counts in areas.items():
        flat = torch.zeros(3, 64 // stride * (128 // stride), dtype=torch.uint8)
        for row, count in zip(flat, counts, strict=True):
            row[:count] = 1
        masks[stride] = flat.reshape(3, 64 // stride, 128 // stride)
    centres, half = torch.tensor([[48.1, 24.1], [48.1, 24.1], [40.1, 20.1]]), torch.tensor([[4.0], [6.0], [15.0]])
    batch = Batch(
        images=torch.zeros(1, 3, 64, 128),
        masks=masks[4],
        masks_8=masks[8],
        masks_16=masks[16],
        labels=torch.tensor([0, 1, 0]),
        boxes=torch.cat([centres - half, centres + half], dim=1),
        centres=centres,
        image_index=torch.zeros(3, dtype=torch.int64),
    )
    heads, p = undecided_heads(kind)
    losses = solo_losses(heads, batch, assign(batch, grids=(4, 2), scale_ranges=((1, 16), (20, 64))))

    def dice(area: int, stride: int) -> float:
        pixels = 64 * 128 / stride**2
        return 1 - 2 * p * area / (p * p * pixels + 0.001 + area + 0.001)

    # SOLOv2: the shared kernel learns both masks, all are at 1/4. Else: the later one only, the second level at 1/8.
    expected = [dice(4, 4), dice(9, 4), dice(49, 4)] if kind == "solov2" else [dice(9, 4), dice(16, 8)]
    assert float(losses.dice) == pytest.approx(3 * sum(expected) / len(expected), rel=1e-5)
    # Two positive cells of 20, two classes: every probability is a half.
    focal = math.log(2) / 4 * (2 * 0.25 + 38 * 0.75)
    assert float(losses.focal) == pytest.approx(focal / (2 + 1), rel=1e-5)


def test_the_mask_loss_is_zero_without_objects_even_where_the_network_has_overflown() -> None:
    batch = make_batch(objects=False)
    model = make_small("solov2")
    outputs = model(batch.images)
    losses = instance_losses(model, outputs._replace(features=outputs.features * torch.inf), batch, imgsz=SIZE)
    assert losses.dice == 0


def part_of(batch: Batch, pictures: list[int]) -> Batch:
    """Return some pictures of a batch, with their objects."""
    mine = torch.isin(batch.image_index, torch.tensor(pictures))
    _, *rest, index = (getattr(batch, name) for name in batch.__slots__)
    renumbered = torch.tensor([pictures.index(i) for i in index[mine].tolist()], dtype=torch.int64)
    return Batch(batch.images[pictures], *(values[mine] for values in rest), renumbered)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_loss_of_two_halves_is_the_loss_of_the_whole(kind: str) -> None:
    model = make_small(kind, trained=True)  # in evaluation mode: halves do not share the statistics of the whole
    batch = make_batch()

    def losses(batch: Batch, **options: Any) -> Losses:
        return instance_losses(model, model(batch.images), batch, imgsz=SIZE, **options)

    halves = [part_of(batch, pictures) for pictures in ([0], [2])]
    counts: list[Tensor] = []
    for half in halves:
        losses(half, reduce=lambda count: counts.append(count) or count)
    assert not counts[0].equal(counts[1])
    mean = torch.stack(counts).mean(0)
    parts = [losses(half, reduce=lambda count: mean, processes=2).total for half in halves]
    whole = losses(part_of(batch, [0, 2])).total
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zoom", [1, 2])
def test_scale_ranges_shrink_with_the_pictures(zoom: int) -> None:
    batch = make_batch()
    model = make_small("solov2")
    outputs = model(batch.images)
    ranges = [(low / zoom, high / zoom) for low, high in model.config.scale_ranges]
    targets = assign(batch, grids=model.config.grids, scale_ranges=ranges)
    seen = []
    instance_losses(
        model, outputs, batch, imgsz=(SIZE[0] // zoom, SIZE[1] // zoom), reduce=lambda n: seen.append(n) or n
    )
    assert seen[0].tolist() == [(targets.owner >= 0).sum(), len(targets.pair_cell)]
