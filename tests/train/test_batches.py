"""Batches: the same pictures however they are dealt out, every picture once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.data.batches import Part, fetch, load_parts
from solo_rt.train.data.world_dataset import WorldDataset


@dataclass(frozen=True, slots=True)
class Numbers:
    """A batch of picture numbers and of chance."""

    images: Tensor
    chance: Tensor

    def to(self, device: torch.device) -> Numbers:
        return Numbers(self.images.to(device), self.chance.to(device))


class Counting:
    classes = ("one",)

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return str(index)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        return index, float(rng.random())

    def collate(self, samples: Sequence[tuple[int, float]]) -> Numbers:
        return Numbers(*(torch.tensor(column) for column in zip(*samples, strict=True)))


def draws(parts: list[Part]) -> list[tuple[int, float]]:
    for part in parts:
        assert part.batch.images.tolist() == list(part.indices)
    return [pair for part in parts for pair in zip(part.indices, part.batch.chance.tolist(), strict=True)]  # type: ignore[attr-defined]


def test_every_epoch_shows_every_picture_once_in_an_order_of_its_own() -> None:
    found = [index for index, _ in draws(list(load_parts(Counting(10), steps=range(5), batch=4)))]
    epochs = [found[:10], found[10:]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1] != list(range(10))


def test_unshuffled_pictures_come_in_order_and_small_sets_fill_large_batches() -> None:
    found = draws(list(load_parts(Counting(3), steps=range(2), batch=4, shuffled=False)))
    assert [index for index, _ in found] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len({chance for _, chance in found}) == 8, "the same picture was augmented alike twice"


def test_processes_parts_workers_and_resuming_change_nothing() -> None:
    data = Counting(7)
    whole = draws(list(load_parts(data, steps=range(3), batch=8)))
    shares = [list(load_parts(data, steps=range(3), batch=8, rank=rank, size=2, parts=2)) for rank in (0, 1)]
    dealt = [shares[rank][2 * step + part] for step in range(3) for part in range(2) for rank in range(2)]
    assert draws(dealt) == whole
    assert draws(list(load_parts(data, steps=range(1, 3), batch=8))) == whole[8:]
    assert draws(list(load_parts(data, steps=range(3), batch=8, seed=1))) != whole


def test_workers_draw_the_same() -> None:
    alone, helped = (
        list(load_parts(WorldDataset(seed=0, imgsz=(32, 64)), steps=range(2), batch=2, workers=workers, shuffled=False))
        for workers in (0, 1)
    )
    for a, b in zip(alone, helped, strict=True):
        assert a.indices == b.indices
        assert torch.equal(a.batch.images, b.batch.images)


def test_parts_are_fetched_in_order_on_a_cpu() -> None:
    parts = list(load_parts(Counting(4), steps=range(2), batch=2))
    assert draws(list(fetch(iter(parts), torch.device("cpu")))) == draws(parts)


def test_batches_that_cannot_be_dealt_out_are_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 6 cannot be dealt out to 2 processes in 2 parts"):
        next(load_parts(Counting(9), steps=range(1), batch=6, size=2, parts=2))
    with pytest.raises(UsageError, match="no pictures"):
        next(load_parts(Counting(0), steps=range(1), batch=6))
