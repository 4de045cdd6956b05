"""The batches of a run: what is in one depends on the data, the seed and its step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from solo_rt.errors import DatasetError, SoloRTError, UsageError
from solo_rt.train.data.base import Batch, TrainingSet
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.data.workers import WorkerContext, begin_worker, safe_start

MOST_BAD = 100  # pictures one after another that cannot be read, before the data set is given up


@dataclass(frozen=True, slots=True)
class Part:
    """What a process works on at a time: its share of a batch, or a part of that share."""

    indices: tuple[int, ...]  # of the pictures in their data set
    batch: Batch
    bad: tuple[tuple[int, DatasetError], ...] = ()  # pictures that others took the place of

    def pin_memory(self) -> Part:
        """Return the part in memory that a GPU can fetch while it computes."""
        return replace(self, batch=_pinned(self.batch))


def load_parts(
    data: TrainingSet[Any],
    *,
    steps: range,
    batch: int,
    parts: int = 1,
    rank: int = 0,
    size: int = 1,
    seed: int = 0,
    shuffled: bool = True,
    tall: NDArray[np.bool_] | None = None,
    workers: int = 0,
    pin: bool = False,
    strict: bool = False,
) -> Iterator[Part]:
    """Yield this process's `parts` of each of the batches number `steps`, one after another.

    Batch n holds the draws `n * batch` to `(n + 1) * batch - 1` of an endless sequence: epoch after epoch, each in an
    order of its own if `shuffled`, across the borders of batches. A draw is augmented by chance of its own. So neither
    the number of processes nor that of workers nor where a run was resumed changes what is in a batch.
    `tall` says which pictures share a batch with their like only, so that little is padded: then there are two such
    sequences, and a batch comes from either. Both get their share of the batches, evenly spread; where one has fewer
    pictures than a batch holds, the batch shows some of them again.
    The next of the epoch takes the place of a picture that cannot be read, which is named once; not if `strict`.
    Raises: UsageError when a batch cannot be dealt out evenly; DatasetError for a picture if `strict`, else for many;
    LoaderLost when a worker is killed.
    """
    if not len(data):
        raise UsageError("the data set has no pictures to train on")
    share = share_of(batch, parts=parts, size=size)
    loader = DataLoader(
        _Draws(data, batch=batch, seed=seed, shuffled=shuffled, tall=tall, most_bad=0 if strict else MOST_BAD),
        batch_sampler=_Numbers(steps, batch=batch, share=share, parts=parts, rank=rank, size=size),
        num_workers=workers,
        collate_fn=_Collate(data.collate),
        pin_memory=pin,
        multiprocessing_context=WorkerContext() if workers else None,
        worker_init_fn=begin_worker,
        generator=torch.Generator(),  # of its own: it must not draw from the one that a step is computed with
    )
    left_out = LeftOut(strict=strict)
    with safe_start():
        loaded = iter(loader)
    for part in _until_lost(loaded):
        if isinstance(part, DatasetError):
            raise part
        for index, error in part.bad:
            left_out.add(index, error)
        yield part


def share_of(batch: int, *, parts: int, size: int) -> int:
    """Return how many pictures of a batch one of `size` processes works on at a time. Raises: UsageError."""
    if batch % (parts * size):
        raise UsageError(f"a batch of {batch} cannot be dealt out to {size} processes in {parts} parts; change --batch")
    return batch // (parts * size)


def fetch(parts: Iterator[Part], device: torch.device) -> Iterator[Part]:
    """Yield `parts` on `device`; on a GPU the next is on its way, on a stream of its own, while one is worked on."""
    if device.type != "cuda":
        for part in parts:
            yield replace(part, batch=part.batch.to(device))
        return
    stream = torch.cuda.Stream(device)
    ahead: Part | None = None
    for part in parts:
        with torch.cuda.stream(stream):
            coming = replace(part, batch=part.batch.to(device))
        if ahead is not None:
            yield ahead
        torch.cuda.current_stream(device).wait_stream(stream)
        for tensor in _tensors(coming.batch).values():
            tensor.record_stream(torch.cuda.current_stream(device))  # its memory is free only when that stream is done
        ahead = coming
    if ahead is not None:
        yield ahead


class LoaderLost(SoloRTError):
    """A process that loads pictures was killed; the training itself is well."""


def _until_lost(parts: Iterator[Part | DatasetError]) -> Iterator[Part | DatasetError]:
    """Yield the parts. Raises: LoaderLost."""
    try:
        yield from parts
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LoaderLost(
            f"a process that loads pictures was killed ({str(error).splitlines()[0]}); if memory is short, give fewer "
            "--workers; go on with --resume auto"
        ) from error


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of the draws of each part, made when they are needed."""

    steps: range
    batch: int
    share: int
    parts: int
    rank: int
    size: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.parts):
                start = step * self.batch + (part * self.size + self.rank) * self.share
                yield list(range(start, start + self.share))

    def __len__(self) -> int:
        return len(self.steps) * self.parts


class _Drawn(NamedTuple):
    picture: int  # its index
    sample: Any
    bad: tuple[tuple[int, DatasetError], ...]  # pictures that it took the place of


class _Draws(Dataset[_Drawn | DatasetError]):
    """The endless sequence of draws."""

    def __init__(
        self,
        data: TrainingSet[Any],
        *,
        batch: int,
        seed: int,
        shuffled: bool,
        tall: NDArray[np.bool_] | None,
        most_bad: int,
    ) -> None:
        self.data, self.batch, self.seed, self.shuffled, self.most_bad = data, batch, seed, shuffled, most_bad
        tall = np.zeros(len(data), np.bool_) if tall is None else tall
        self._groups = np.flatnonzero(~tall), np.flatnonzero(tall)  # the pictures of both sequences
        # By group: an epoch, and the pictures in the order in which it shows them.
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __getitem__(self, number: int) -> _Drawn | DatasetError:
        """Return draw `number`; an error is returned, for raised in a worker it would arrive as a traceback."""
        bad: list[tuple[int, DatasetError]] = []
        for index in self._candidates(number):
            try:
                return _Drawn(index, self.data.sample(index, np.random.default_rng([self.seed, 3, number])), tuple(bad))
            except DatasetError as error:
                bad.append((index, error))
        first = bad[0][1]
        return first if not self.most_bad else DatasetError(f"{first} ({len(bad)} pictures one after another are bad)")

    def _candidates(self, number: int) -> Iterator[int]:
        """Yield the picture of a draw, then those that come after it in its epoch, which take its place."""
        step, slot = divmod(number, self.batch)
        # Of the first n batches, as many as their share of n, rounded down, are of tall pictures.
        before, after = (n * len(self._groups[1]) // len(self.data) for n in (step, step + 1))
        group = after - before
        draw = (before if group else step - before) * self.batch + slot
        epoch, place = divmod(draw, len(self._groups[group]))
        order = self._order(group, epoch)
        for later in range(min(self.most_bad + 1, len(order))):
            yield int(order[(place + later) % len(order)])

    def _order(self, group: int, epoch: int) -> NDArray[np.int64]:
        """Return the pictures of a group in the order in which `epoch` shows them."""
        if not self.shuffled:
            return self._groups[group]
        if group not in self._orders or self._orders[group][0] != epoch:
            chance = np.random.default_rng([self.seed, 6, epoch, group])
            self._orders[group] = epoch, chance.permutation(self._groups[group])
        return self._orders[group][1]


@dataclass(frozen=True, slots=True)
class _Collate:
    collate: Callable[[Sequence[Any]], Batch]

    def __call__(self, drawn: Sequence[_Drawn | DatasetError]) -> Part | DatasetError:
        found: list[_Drawn] = []
        for item in drawn:
            if isinstance(item, DatasetError):
                return item
            found.append(item)
        batch = self.collate([item.sample for item in found])
        return Part(tuple(item.picture for item in found), batch, tuple(bad for item in found for bad in item.bad))


def _pinned(batch: Any) -> Any:
    """Return a copy of the dataclass `batch` whose tensors are pinned."""
    return replace(batch, **{name: value.pin_memory() for name, value in _tensors(batch).items()})


def _tensors(batch: Any) -> dict[str, Tensor]:
    """Return the tensors of the dataclass `batch`, by name."""
    assert is_dataclass(batch)
    return {f.name: value for f in fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)}
