"""One engine for several runs, in batches where its model takes several pictures at once.

Note [Batches form by themselves]
    Whoever finds the engine free takes along those who wait, as many as the model takes at once; while it computes, the
    next batch gathers. So batches are full where the engine is what everybody waits for, and where it is not, nobody
    waits for a batch to fill: a window of some milliseconds would only add its length to the latency.

Note [A frame is begun when its turn has come]
    While a frame waits with its run a newer one can replace it; in `infer` it gets old. So a run whose frames may get
    old draws a number, and takes its newest frame when that is near: as many as are computed next are made ready while
    others are computed. So the engine waits for nobody, and a frame that was begun for one computation. Whoever has no
    frame keeps the number and holds nobody up. A file has its frame ready, and draws a number for each.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from solo_rt.engine.base import Engine, Float32, FrameEngine
from solo_rt.render import Painting
from solo_rt.types import Frame, Output


def share(engine: Engine, *, lanes: int | None = None) -> Engine:
    """Return the engine for several callers at once, who are served in turn. Closing it does nothing.

    It takes one picture at a time from each, whatever the batch of the model; `lanes` is how many each run may have on
    their way, those of the engine unless given. A `FrameEngine` computes frames one by one.
    """
    return _SharedFrameEngine(engine, lanes) if isinstance(engine, FrameEngine) else SharedEngine(engine, lanes)


def one_by_one(engine: Engine, *, live: bool) -> Engine:
    """Return an engine that takes one picture at a time: the same one, unless its model takes several at once.

    Then as many frames of a file are on their way as fill a batch; a live source waits for none.
    """
    batch = engine.spec.input.batch
    return engine if batch == 1 else share(engine, lanes=engine.lanes * (1 if live else batch))


@dataclass(slots=True, eq=False)
class _Request:
    """What one caller wants, and what became of it."""

    number: int  # in line, behind lower ones; 0 once its frame is begun
    inputs: Mapping[str, Float32] = field(default_factory=dict)
    is_ready: bool = False  # to be computed
    outputs: dict[str, Output] = field(default_factory=dict)
    error: BaseException | None = None
    is_done: bool = False


class SharedEngine:
    """See `Engine`. With `draw`, `begin` and `end` a frame stands in line before it is taken."""

    def __init__(self, engine: Engine, lanes: int | None) -> None:
        self._engine = engine
        self._batch = 1 if isinstance(engine, FrameEngine) else engine.spec.input.batch
        self.spec = replace(engine.spec, input=replace(engine.spec.input, batch=1))
        self.lanes, self.backend = lanes or engine.lanes, engine.backend
        self._turns = threading.Condition()  # guards what follows
        self._free = engine.lanes
        self._near = engine.lanes * self._batch  # from the first in line on, who are computed next
        self._drawn = 0  # numbers
        self._waiting: list[_Request] = []  # in line, by number
        self._begun: dict[int, _Request] = {}  # by thread

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        request = self._ask(inputs)
        with self._turn(request) as batch:
            if batch:
                self._compute(batch)
        if request.error is not None:
            raise request.error
        return request.outputs

    def draw(self) -> int:
        """Return the next number in line."""
        with self._turns:
            self._drawn += 1
            return self._drawn

    def begin(self, number: int, timeout: float | None = None) -> bool:
        """Wait until the frame with a number may be begun, for this thread to infer, and return whether it may."""
        request = _Request(number)
        with self._turns:
            self._stand(request)
            may_begin = self._turns.wait_for(lambda: request in self._waiting[: self._near], timeout)
            self._waiting.remove(request)
            if may_begin:
                request.number = 0
                self._stand(request)
                self._begun[threading.get_ident()] = request
            return may_begin

    def end(self) -> None:
        """Let somebody else begin instead of this thread, unless it has inferred what it began."""
        with self._turns:
            request = self._begun.pop(threading.get_ident(), None)
            if request is not None:
                self._waiting.remove(request)
                self._turns.notify_all()

    def _stand(self, request: _Request) -> None:
        insort(self._waiting, request, key=lambda one: one.number)

    def _ask(self, inputs: Mapping[str, Float32]) -> _Request:
        """Return the request for inputs, in the place of what this thread has begun, or else at the end of the line."""
        with self._turns:
            request = self._begun.pop(threading.get_ident(), None)
            if request is None:
                request = _Request(self.draw())
                self._stand(request)
            request.inputs, request.is_ready = inputs, True
            return request

    def cancel(self) -> None:
        self._engine.cancel()

    def close(self) -> None:
        pass

    @contextmanager
    def _turn(self, request: _Request) -> Iterator[list[_Request]]:
        """Give the requests to compute now, this one first; none if somebody else has computed it."""
        with self._turns:
            self._turns.wait_for(lambda: request.is_done or (self._free > 0 and request in self._ready(1)))
            if request.is_done:
                batch = []
            else:
                self._free -= 1
                batch = self._ready(self._batch)
                self._waiting = [one for one in self._waiting if one not in batch]
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

    def _ready(self, most: int) -> list[_Request]:
        """Return the first ones in line that can be computed."""
        return list(islice((one for one in self._waiting if one.is_ready), most))

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


class _SharedFrameEngine(SharedEngine):
    """See `FrameEngine`."""

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        assert isinstance(self._engine, FrameEngine)
        with self._turn(self._ask({})):
            return self._engine.infer_frame(frame, painting)
