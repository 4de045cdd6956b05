"""Batches: the same pictures however they are dealt out, every picture once an epoch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.batches import MOST_BAD, LoaderLost, Part, fetch, load_parts
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


@pytest.mark.parametrize("tall", [None, np.arange(7) % 3 == 1])
def test_processes_parts_workers_and_resuming_change_nothing(tall: NDArray[np.bool_] | None) -> None:
    data = Counting(7)
    load = partial(load_parts, data, batch=8, tall=tall)
    whole = draws(list(load(steps=range(3))))
    shares = [list(load(steps=range(3), rank=rank, size=2, parts=2)) for rank in (0, 1)]
    dealt = [shares[rank][2 * step + part] for step in range(3) for part in range(2) for rank in range(2)]
    assert draws(dealt) == whole
    assert draws(list(load(steps=range(1, 3)))) == whole[8:]
    assert draws(list(load(steps=range(3), seed=1))) != whole


TALL = np.arange(20) % 5 == 3  # four of twenty


def test_batches_are_of_one_orientation_and_every_epoch_shows_every_picture_once() -> None:
    parts = list(load_parts(Counting(20), steps=range(25), batch=4, tall=TALL))
    kinds = [set(TALL[list(part.indices)].tolist()) for part in parts]
    assert [kind == {True} for kind in kinds] == [step % 5 == 4 for step in range(25)]
    assert all(len(kind) == 1 for kind in kinds)
    for tall in (False, True):
        found = [index for index, _ in draws(parts) if TALL[index] == tall]
        pictures = np.flatnonzero(tall == TALL).tolist()
        epochs = [found[i : i + len(pictures)] for i in range(0, len(found), len(pictures))]
        assert [sorted(epoch) for epoch in epochs] == [pictures] * 5
        assert epochs[0] != epochs[1]


@pytest.mark.parametrize("count", [0, 7, 50, 93, 100])
def test_tall_pictures_have_their_share_of_the_batches(count: int) -> None:
    tall = np.arange(100) < count
    parts = load_parts(Counting(100), steps=range(100), batch=3, tall=tall)
    batches = [tall[list(part.indices)] for part in parts]
    assert all(batch.all() or not batch.any() for batch in batches)
    assert sum(batch.all() for batch in batches) == count


def test_few_tall_pictures_fill_a_batch_by_repeating_themselves() -> None:
    found = draws(list(load_parts(Counting(20), steps=range(10), batch=4, tall=np.arange(20) == 7)))
    assert not any(index == 7 for index, _ in found)  # a batch of it is due every 20 steps
    found = draws(list(load_parts(Counting(20), steps=range(19, 20), batch=4, tall=np.arange(20) == 7)))
    assert [index for index, _ in found] == [7] * 4
    assert len({chance for _, chance in found}) == 4


def test_orientation_leaves_the_order_alone_where_all_are_alike() -> None:
    plain, wide = (
        draws(list(load_parts(Counting(7), steps=range(3), batch=4, tall=tall))) for tall in (None, np.zeros(7, bool))
    )
    assert plain == wide


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


class Spoilt(Counting):
    """Pictures of which some cannot be read."""

    def __init__(self, length: int, *, bad: set[int]) -> None:
        super().__init__(length)
        self.bad = bad

    def sample(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        if index in self.bad:
            raise DatasetError(f"picture {index} is missing")
        return super().sample(index, rng)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_next_picture_takes_the_place_of_a_bad_one_which_is_named_once(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = Spoilt(5, bad={1, 2, 4})
    found = draws(list(load_parts(data, steps=range(3), batch=5, shuffled=False, workers=workers)))
    assert [index for index, _ in found] == [0, 3, 3, 3, 0] * 3
    whole = draws(list(load_parts(Counting(5), steps=range(3), batch=5, shuffled=False)))
    assert [chance for _, chance in found] == [chance for _, chance in whole], "others were augmented otherwise"
    assert [record.getMessage() for record in caplog.records] == [
        f"left out: picture {i} is missing" for i in (1, 2, 4)
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_one_line_where_it_is_not_left_out(workers: int) -> None:
    with pytest.raises(DatasetError, match=r"^picture 1 is missing$"):
        list(load_parts(Spoilt(5, bad={1}), steps=range(2), batch=5, workers=workers, strict=True))


def test_too_many_bad_pictures_one_after_another_are_the_end() -> None:
    with pytest.raises(DatasetError, match=r"^picture \d is missing \(3 pictures one after another are bad\)$"):
        list(load_parts(Spoilt(3, bad={0, 1, 2}), steps=range(2), batch=1))
    assert list(load_parts(Spoilt(MOST_BAD + 1, bad=set(range(MOST_BAD))), steps=range(2), batch=1))
    with pytest.raises(DatasetError, match=rf"\({MOST_BAD + 1} pictures one after another are bad\)"):
        list(load_parts(Spoilt(999, bad=set(range(998))), steps=range(1), batch=1, shuffled=False))


class Signalled(Counting):
    """Pictures whose loader gets every signal that asks a run to end, while it starts and later."""

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__dict__ |= state
        self.signal()

    def sample(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        self.signal()
        return super().sample(index, rng)

    def signal(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)


def test_a_signal_ends_no_loader_and_is_not_lost_while_they_start() -> None:
    assert len(list(load_parts(Signalled(5), steps=range(2), batch=5, workers=1))) == 2
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


class Killed(Counting):
    """Pictures whose loader is killed, as the system does where memory is short."""

    def sample(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_loader_that_is_killed_is_one_line() -> None:
    with pytest.raises(LoaderLost, match=r"was killed \(DataLoader worker .*; if memory is short, give fewer"):
        list(load_parts(Killed(5), steps=range(2), batch=5, workers=1))


def test_numbers_of_draws_are_made_when_they_are_needed() -> None:
    endless = load_parts(Counting(5), steps=range(10**12), batch=2)
    assert len(next(endless).indices) == 2


LEAVING = """
import sys

from solo_rt.train.data.batches import load_parts
from solo_rt.train.data.world_dataset import WorldDataset

if __name__ == "__main__":
    parts = load_parts(WorldDataset(seed=0, imgsz=(32, 64)), steps=range(9), batch=2, workers=2)
    next(parts)
    sys.exit(7)
"""


@pytest.mark.slow
def test_workers_end_with_their_process_and_know_python_s_own_modules(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit(1)")
    script = tmp_path / "script" / "leaving.py"
    script.parent.mkdir()
    script.write_text(LEAVING)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (7, "")


def test_batches_that_cannot_be_dealt_out_are_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 6 cannot be dealt out to 2 processes in 2 parts"):
        next(load_parts(Counting(9), steps=range(1), batch=6, size=2, parts=2))
    with pytest.raises(UsageError, match="no pictures"):
        next(load_parts(Counting(0), steps=range(1), batch=6))
