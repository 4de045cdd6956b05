"""One engine for several callers, and batches that form by themselves."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import TINY_SPEC, FakeEngine, FakeSource, ends_all_threads

from solo_rt.errors import EngineError
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.sharing import one_by_one, share

WAIT = 10.0  # seconds; only a failing test takes that long
NAME = TINY_SPEC.input.name


class BatchEngine:
    """Gives back its pictures plus one, notes how many it was given that are not empty, and can be kept waiting."""

    backend = "fake"

    def __init__(self, batch: int, *, lanes: int = 1, fails_on: float | None = None) -> None:
        self.spec = replace(TINY_SPEC, input=replace(TINY_SPEC.input, batch=batch))
        self.lanes, self.fails_on = lanes, fails_on
        self.sizes: list[int] = []
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.cancelled = 0

    def infer(self, inputs):
        pictures = inputs[NAME]
        assert pictures.shape == (self.spec.input.batch, 3, 2, 2)
        self.begun.release()
        assert self.go.acquire(timeout=WAIT)
        self.sizes.append(int((pictures != 0).any((1, 2, 3)).sum()))
        if self.fails_on is not None and (pictures == self.fails_on).any():
            raise EngineError(f"cannot do {self.fails_on}")
        return {"out": pictures[:, 0] + 1}

    def cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None:
        raise AssertionError("whoever opened it closes it")


def picture(value: float) -> dict[str, np.ndarray]:
    return {NAME: np.full((1, 3, 2, 2), value, np.float32)}


class Callers:
    """Threads that ask an engine for one picture each, one after the other in line."""

    def __init__(self, engine) -> None:
        self.engine, self.answers = engine, {}
        self.threads: list[threading.Thread] = []

    def ask(self, value: float, *, is_served: bool = False) -> None:
        """Ask for one picture, and return when it is being computed, or stands in line."""

        def work() -> None:
            try:
                self.answers[value] = self.engine.infer(picture(value))["out"]
            except EngineError as error:
                self.answers[value] = error

        self.threads.append(threading.Thread(target=work))
        before = len(self.engine._waiting)
        self.threads[-1].start()
        if is_served:
            assert self.engine._engine.begun.acquire(timeout=WAIT)
        while not is_served and len(self.engine._waiting) == before:
            threading.Event().wait(0.001)

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(WAIT)
            assert not thread.is_alive()


def test_those_who_wait_are_computed_together_in_their_order() -> None:
    engine = BatchEngine(3)
    callers = Callers(share(engine))
    callers.ask(1, is_served=True)
    for value in range(2, 8):
        callers.ask(value)
    engine.go.release(4)
    callers.finish()
    assert engine.sizes == [1, 3, 3]
    for value, answer in callers.answers.items():
        np.testing.assert_array_equal(answer, np.full((1, 2, 2), value + 1))


def test_lanes_are_at_work_at_once_and_no_more_of_them() -> None:
    engine = BatchEngine(2, lanes=2)
    callers = Callers(share(engine))
    callers.ask(1, is_served=True)
    callers.ask(2, is_served=True)
    for value in (3, 4, 5, 6):
        callers.ask(value)
    assert not engine.begun.acquire(timeout=0.05)
    engine.go.release(9)
    callers.finish()
    assert sorted(engine.sizes) == [1, 1, 2, 2]


@pytest.mark.parametrize(("batch", "lanes"), [(1, 1), (3, 1), (2, 2)])
def test_as_many_are_begun_as_are_computed_next(batch: int, lanes: int) -> None:
    shared = share(BatchEngine(batch, lanes=lanes))
    begun = [shared.begin(shared.draw(), timeout=0) for _ in range(batch * lanes + 1)]
    assert begun == [True] * (batch * lanes) + [False]


def test_number_that_does_not_wait_holds_nobody_up_and_keeps_its_place() -> None:
    engine = BatchEngine(1)
    callers = Callers(share(engine))
    early, late = callers.engine.draw(), callers.engine.draw()
    callers.ask(1, is_served=True)
    callers.ask(2)
    assert callers.engine.begin(late, timeout=0)
    assert not callers.engine.begin(early, timeout=0)
    callers.engine.end()
    assert callers.engine.begin(early, timeout=0)
    assert not callers.engine.begin(late, timeout=0)
    engine.go.release(9)
    assert float(callers.engine.infer(picture(3))["out"][0, 0, 0]) == 4
    callers.finish()
    assert callers.engine.begin(late, timeout=0)


def test_a_picture_that_cannot_be_computed_fails_alone() -> None:
    engine = BatchEngine(3, fails_on=3)
    callers = Callers(share(engine))
    callers.ask(1, is_served=True)
    for value in (2, 3, 4):
        callers.ask(value)
    engine.go.release(9)
    callers.finish()
    assert engine.sizes == [1, 3, 1, 1, 1]
    assert isinstance(callers.answers.pop(3), EngineError)
    assert [float(answer[0, 0, 0]) for _, answer in sorted(callers.answers.items())] == [2, 3, 5]


def test_a_shared_engine_takes_one_picture_and_passes_on_what_it_is_told() -> None:
    engine = BatchEngine(4, lanes=2)
    shared = share(engine)
    assert (shared.spec.input.batch, shared.lanes, shared.backend) == (1, 2, "fake")
    assert share(engine, lanes=5).lanes == 5
    shared.cancel()
    assert engine.cancelled == 1
    shared.close()


def test_an_engine_of_single_pictures_stays_what_it_is() -> None:
    engine = FakeEngine()
    assert one_by_one(engine, live=False) is engine
    batches = BatchEngine(4, lanes=2)
    assert one_by_one(batches, live=False).lanes == 8
    assert one_by_one(batches, live=True).lanes == 2


class TwoAtOnce(FakeEngine):
    """The fake engine, its model made for two pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, input=replace(self.spec.input, batch=2))
        self.filled: list[int] = []
        self._single = FakeEngine()

    def infer(self, inputs):
        pictures = inputs[NAME]
        assert len(pictures) == 2
        time.sleep(0.002)  # a model takes its time, in which others come
        self.filled.append(1 + bool(pictures[1].any()))
        each = [self._single.infer({NAME: one[None]}) for one in pictures]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}


@pytest.mark.parametrize("sources", [1, 3])
def test_a_model_for_several_pictures_finds_what_one_for_single_pictures_finds(sources: int) -> None:
    def found(engine) -> dict[tuple[str, int], list[float]]:
        results = {}

        hooks = Hooks(
            on_frame=lambda result: results.update(
                {(result.source, result.frame.index): result.instances.scores.tolist()}
            )
        )
        given = {"source": FakeSource(9)} if sources == 1 else {"sources": {n: FakeSource(9) for n in "abc"[:sources]}}
        with ends_all_threads():
            Pipeline(model=engine, hooks=hooks, **given).run()
        return results

    engine = TwoAtOnce()
    assert found(engine) == found(FakeEngine())
    assert len(engine.filled) < 9 * sources  # some have been computed together
    assert max(engine.filled) == 2
