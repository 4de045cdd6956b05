"""Losses against their definitions, and the batch without objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from solo_rt.train.data.samples import collate
from solo_rt.train.data.world_dataset import WorldDataset
from solo_rt.train.losses import dice_loss, focal_loss, solo_losses
from solo_rt.train.models import build_model
from solo_rt.train.models.solov2 import VARIANTS
from solo_rt.train.targets import assign


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


def test_dice_loss_at_its_ends() -> None:
    truth = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]])
    assert dice_loss(truth, truth)[0] == pytest.approx(0, abs=1e-3)
    assert dice_loss(1 - truth, truth)[0] == pytest.approx(1)
    assert torch.isfinite(dice_loss(truth * 0, truth * 0)).all()
    # 1 - 2 * 0.5 / (0.25 + 1) for one pixel half right
    assert dice_loss(torch.tensor([[0.5]]), torch.tensor([[1.0]]))[0] == pytest.approx(0.2, abs=2e-3)


def make_case(objects: bool) -> tuple[torch.Tensor, ...]:
    config = VARIANTS["solov2-nano"]
    data = WorldDataset(seed=0, imgsz=(64, 96))
    samples = [s for s in (data.sample(i, np.random.default_rng(i)) for i in range(8)) if (len(s.labels) > 0)]
    batch = collate(samples[:2], imgsz=(64, 96))
    if not objects:
        keep = torch.zeros(len(batch.labels), dtype=torch.bool)
        values = [getattr(batch, name) for name in batch.__slots__]
        batch = type(batch)(values[0], *(v[keep] for v in values[1:]))
    torch.manual_seed(0)
    model = build_model("solov2-nano", 7)
    losses = solo_losses(
        model(batch.images), batch, assign(batch, grids=config.grids, scale_ranges=config.scale_ranges)
    )
    losses.total.backward()
    return losses, [p.grad for p in model.mask_branch.parameters()]


def test_a_new_model_has_a_mask_loss_of_almost_three() -> None:
    losses, gradients = make_case(objects=True)
    assert 2.3 < losses.dice < 3.0
    assert any(g.abs().max() > 0 for g in gradients)


def test_a_batch_without_objects_has_a_zero_mask_loss_and_a_gradient() -> None:
    losses, gradients = make_case(objects=False)
    assert losses.dice == 0
    assert torch.isfinite(losses.total)
    assert all(g is not None and not g.any() for g in gradients)
