"""One engine for several runs, in batches where its model takes several pictures at once.

Note [Batches form by themselves]
    Whoever finds the engine free takes along those who wait, as many as the model takes at once; while it computes, the
    next batch gathers. So batches are full where the engine is what everybody waits for, and where it is not, nobody
    waits for a batch to fill: a window of some milliseconds would only add its length to the latency.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from solo_rt.engine.base import Engine, Float32, FrameEngine
from solo_rt.render import Painting
from solo_rt.types import Frame, Output


def share(engine: Engine, *, lanes: int | None = None) -> Engine:
    """Return the engine for several callers at once, who are served in the order they come. Closing it does nothing.

    It takes one picture at a time from each, whatever the batch of the model; `lanes` is how many each run may have on
    their way, those of the engine unless given. A `FrameEngine` computes frames one by one.
    """
    return _SharedFrameEngine(engine, lanes) if isinstance(engine, FrameEngine) else _SharedEngine(engine, lanes)


def one_by_one(engine: Engine, *, live: bool) -> Engine:
    """Return an engine that takes one picture at a time: the same one, unless its model takes several at once.

    Then as many frames of a file are on their way as fill a batch; a live source waits for none.
    """
    batch = engine.spec.input.batch
    return engine if batch == 1 else share(engine, lanes=engine.lanes * (1 if live else batch))


@dataclass(slots=True, eq=False)
class _Request:
    """What one caller wants, and what became of it."""

    inputs: Mapping[str, Float32]
    outputs: dict[str, Output] = field(default_factory=dict)
    error: BaseException | None = None
    is_done: bool = False


class _SharedEngine:
    """See `Engine`."""

    def __init__(self, engine: Engine, lanes: int | None) -> None:
        self._engine = engine
        self._batch = 1 if isinstance(engine, FrameEngine) else engine.spec.input.batch
        self.spec = replace(engine.spec, input=replace(engine.spec.input, batch=1))
        self.lanes, self.backend = lanes or engine.lanes, engine.backend
        self._turns = threading.Condition()  # guards what follows
        self._free = engine.lanes
        self._waiting: deque[_Request] = deque()

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        request = _Request(inputs)
        with self._turn(request) as batch:
            if batch:
                self._compute(batch)
        if request.error is not None:
            raise request.error
        return request.outputs

    def cancel(self) -> None:
        self._engine.cancel()

    def close(self) -> None:
        pass

    @contextmanager
    def _turn(self, request: _Request) -> Iterator[list[_Request]]:
        """Give the requests to compute now, this one first; none if somebody else has computed it."""
        with self._turns:
            self._waiting.append(request)
            self._turns.wait_for(lambda: request.is_done or (self._free > 0 and self._waiting[0] is request))
            if request.is_done:
                batch = []
            else:
                self._free -= 1
                batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                self._turns.notify_all()  # whoever is first now may have a lane, too
        try:
            yield batch
        finally:
            if batch:
                with self._turns:
                    self._free += 1
                    for one in batch:
                        one.is_done = True
                    self._turns.notify_all()

    def _compute(self, batch: Sequence[_Request]) -> None:
        """Fill in the outputs of requests, or what was raised. One of them that cannot be computed fails alone."""
        try:
            if self._batch == 1:
                batch[0].outputs = self._engine.infer(batch[0].inputs)
                return
            outputs = self._engine.infer({name: self._stack(name, batch) for name in batch[0].inputs})
            for i, request in enumerate(batch):
                request.outputs = {name: values[i : i + 1] for name, values in outputs.items()}
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for request in batch:
                self._compute([request])

    def _stack(self, name: str, batch: Sequence[_Request]) -> Float32:
        """Return the inputs of that name one behind the other, and zeros for those that the batch lacks."""
        first = batch[0].inputs[name]
        stacked = np.zeros((self._batch, *first.shape[1:]), first.dtype)
        for place, request in zip(stacked, batch, strict=False):
            place[...] = request.inputs[name][0]
        return stacked


class _SharedFrameEngine(_SharedEngine):
    """See `FrameEngine`."""

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        assert isinstance(self._engine, FrameEngine)
        with self._turn(_Request({})):
            return self._engine.infer_frame(frame, painting)
