"""Semantic losses against their definitions, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.losses.semantic import (
    PRESENCE_WEIGHT,
    HardPixels,
    hardest,
    match_sizes,
    pixel_loss,
    presence_loss,
    present_classes,
    semantic_losses,
    take_steps,
)
from solo_rt.train.models.semantic import SemanticOutput


def random_batch(seed: int = 0, *, ignored: float = 0.2, b: int = 2, c: int = 5) -> tuple[Tensor, Tensor]:
    """Return logits that want a gradient and labels, some of which are ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(b, c, 9, 12, generator=generator)).requires_grad_()
    labels = torch.randint(0, c, (b, 9, 12), generator=generator).to(torch.uint8)
    labels[torch.rand(b, 9, 12, generator=generator) < ignored] = 255
    return logits, labels


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    logits, labels = random_batch()
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1])
    for given in (None, weights):
        expected = F.cross_entropy(logits, labels.long(), given, ignore_index=255)
        torch.testing.assert_close(pixel_loss(logits, labels, class_weights=given), expected)


def test_a_batch_without_labels_costs_nothing_and_has_a_gradient() -> None:
    logits, labels = random_batch()
    labels.fill_(255)
    output = SemanticOutput(logits, aux=(logits[:, :, ::3, ::3],), presence=logits.mean((2, 3)))
    for hard in (None, HardPixels()):
        losses = semantic_losses(output, labels, aux_weights=[0.4], hard_pixels=hard)
        total = losses["total"] - PRESENCE_WEIGHT * losses["presence"]  # that of an absent class is known
        (gradient,) = torch.autograd.grad(total, logits, retain_graph=True)
        assert total == 0
        assert not gradient.any()


def test_a_pixel_is_right_where_no_class_beats_its_own() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0, 9.0], [1.0, 1.0, 1.0, 0.0]])[None, :, None]  # [1, 2, 1, 4]
    labels = torch.tensor([[[1, 1, 0, 255]]], dtype=torch.uint8)
    assert semantic_losses(SemanticOutput(logits), labels)["pixel_accuracy"] == pytest.approx(2 / 3)


def test_logits_grow_as_networks_enlarge_theirs() -> None:
    grown, _ = match_sizes(torch.tensor([[[[0.0, 1.0]]]]), torch.zeros(1, 2, 4, dtype=torch.uint8), shrink=False)
    torch.testing.assert_close(grown[0, 0], torch.tensor([[0.0, 0.25, 0.75, 1.0]] * 2))


def test_labels_are_taken_at_the_steps_of_the_logits_from_any_first_one() -> None:
    labels = torch.arange(6 * 8, dtype=torch.uint8).reshape(1, 6, 8)
    taken = {tuple(take_steps(labels, (3, 4)).flatten().tolist()) for _ in range(40)}
    assert taken == {tuple(labels[0, y::2, x::2].flatten().tolist()) for y in (0, 1) for x in (0, 1)}
    assert take_steps(labels, (6, 8)) is labels
    losses = semantic_losses(SemanticOutput(torch.zeros(1, 48, 3, 4)), labels)
    torch.testing.assert_close(losses["main"], torch.tensor(math.log(48)))


@pytest.mark.parametrize("threshold", [0.05, 0.7, 0.999])
@pytest.mark.parametrize("min_kept", [1, 40, 170, 10_000])
def test_hard_pixels_are_those_of_the_definition(threshold: float, min_kept: int) -> None:
    logits, labels = random_batch(1)
    probability = torch.softmax(logits.detach(), 1).gather(1, labels.long().clamp(max=4)[:, None])[:, 0]
    valid = labels != 255
    ranked = probability[valid].sort().values
    limit = max(threshold, float(ranked[min(min_kept, len(ranked)) - 1]))
    kept = (probability <= limit + 1e-7) & valid
    each = F.cross_entropy(logits, labels.long(), ignore_index=255, reduction="none")
    assert torch.equal(hardest(each, labels, HardPixels(threshold, min_kept)) & valid, kept)
    expected = -probability[kept].log().mean()
    torch.testing.assert_close(pixel_loss(logits, labels, HardPixels(threshold, min_kept)), expected)
    assert kept.sum() >= min(min_kept, int(valid.sum()))


def test_shrunk_labels_are_labels() -> None:
    """Bilinear interpolation of these ids would give classes that are nowhere in the picture."""
    labels = torch.tensor([[0, 18, 5, 255]], dtype=torch.uint8).repeat(1, 8, 8)
    for size in [(4, 16), (3, 11), (1, 1), (8, 32)]:
        logits, shrunk = match_sizes(torch.zeros(1, 19, *size), labels, shrink=True)
        assert shrunk.shape[1:] == logits.shape[2:] == size
        assert set(shrunk.flatten().tolist()) <= {0, 18, 5, 255}
    grown, same = match_sizes(torch.zeros(1, 19, 2, 3), labels, shrink=False)
    assert grown.shape[2:] == same.shape[1:] == (8, 32)


def test_icnet_guides_each_scale_with_its_own_weight() -> None:
    logits, labels = random_batch()
    scales = tuple(logits[:, :, ::step, ::step] for step in (1, 2, 4))
    losses = semantic_losses(
        SemanticOutput(logits, aux=scales), labels, aux_weights=(1.0, 0.4, 0.16), main_weight=0.0, shrink_labels=True
    )
    expected = sum(
        weight * pixel_loss(*match_sizes(scale, labels, shrink=True))
        for weight, scale in zip((1.0, 0.4, 0.16), scales, strict=True)
    )
    torch.testing.assert_close(losses["total"], expected)
    torch.testing.assert_close(losses["aux"], expected)


@pytest.mark.parametrize("classes", [2, 5, 150])
def test_presence_is_that_of_the_labelled_pixels_whatever_the_number_of_classes(classes: int) -> None:
    labels = torch.full((3, 4, 6), 255, dtype=torch.uint8)
    labels[0, 0, 0], labels[0, 3, 5], labels[1] = 1, classes - 1, 0
    expected = torch.zeros(3, classes)
    expected[0, 1] = expected[0, classes - 1] = expected[1, 0] = 1
    assert torch.equal(present_classes(labels, classes), expected)
    logits = torch.randn(3, classes, generator=torch.Generator().manual_seed(0))
    by_hand = -(expected * logits.sigmoid().log() + (1 - expected) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(presence_loss(logits, labels), by_hand)


def test_total_is_the_weighted_sum_of_what_the_network_gives() -> None:
    logits, labels = random_batch(ignored=0.0)
    assert set(semantic_losses(SemanticOutput(logits), labels)) == {"total", "main", "pixel_accuracy"}
    aux = (logits[:, :, ::2, ::2], -logits)
    output = SemanticOutput(logits, aux, presence=logits.amax((2, 3)))
    losses = semantic_losses(output, labels, aux_weights=(0.4, 0.1))
    parts = [pixel_loss(*match_sizes(a, labels, shrink=False)) for a in aux]
    torch.testing.assert_close(losses["aux"], 0.4 * parts[0] + 0.1 * parts[1])
    torch.testing.assert_close(losses["total"], losses["main"] + losses["aux"] + PRESENCE_WEIGHT * losses["presence"])
    assert losses["pixel_accuracy"] == (logits.argmax(1) == labels).float().mean()
    with pytest.raises(UsageError, match="a weight for each auxiliary output, got 1 for 2"):
        semantic_losses(output, labels, aux_weights=(0.4,))


@pytest.mark.parametrize("hard", [None, HardPixels(0.7, 1)], ids=["all pixels", "hard pixels"])
def test_two_processes_give_the_gradient_of_one(hard: HardPixels | None) -> None:
    """Halves with different numbers of labelled pixels, as data parallel training would see them."""
    logits, labels = random_batch(b=4)
    labels[:2, :6] = 255
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1])

    def loss(part: slice, reduce=lambda count: count) -> Tensor:
        output = SemanticOutput(logits[part], aux=(logits[part, :, ::3, ::3],))
        return semantic_losses(
            output, labels[part], aux_weights=[0.4], hard_pixels=hard, class_weights=weights, reduce=reduce
        )["total"]

    (whole,) = torch.autograd.grad(loss(slice(0, 4)), logits)
    counts: list[list[Tensor]] = []
    for part in (slice(0, 2), slice(2, 4)):
        counts.append([])
        loss(part, lambda count: counts[-1].append(count) or count)
    means = [sum(pair) / 2 for pair in zip(*counts, strict=True)]
    split = torch.zeros_like(logits)
    for part in (slice(0, 2), slice(2, 4)):
        queue = list(means)
        split += torch.autograd.grad(loss(part, lambda count, queue=queue: queue.pop(0)), logits)[0] / 2
    torch.testing.assert_close(split, whole)
    assert math.isfinite(float(split.sum()))


def test_hard_pixels_must_make_sense() -> None:
    with pytest.raises(UsageError, match=r"threshold in \(0, 1\) and min_kept of at least 1, got 1.5 and 3"):
        HardPixels(1.5, 3)
