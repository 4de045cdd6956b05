"""The schedule of threads and lanes, with stages that say when they go on."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest
from children import wait_until
from fakes import FakeEngine, Planted, colour_frame, pipeline_threads

from solo_rt.pipeline import workers
from solo_rt.pipeline.sharing import SharedEngine, share
from solo_rt.pipeline.stage import Counts, Job, Stage
from solo_rt.pipeline.workers import run_in_turn, run_threaded

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


def jobs(count: int) -> Iterator[Job]:
    return (Job(colour_frame(index)) for index in range(count))


def lanes(
    count: int,
    work: Callable[[int], object] = lambda index: None,
    *,
    name: str = "infer",
    line: SharedEngine | None = None,
) -> Stage:
    """Return a stage whose lanes call `work` with the frame's number."""
    return Stage(name, lambda job: work(job.frame.index), lanes=count, line=line)


def through(
    feed: Iterator[Job],
    *stages: Stage,
    counts: Counts | None = None,
    live: bool = False,
    stop: threading.Event | None = None,
    stale_after: float = math.inf,
):
    return run_threaded(
        feed,
        stages,
        counts or Counts(),
        live=live,
        stop=stop or threading.Event(),
        on_wait=lambda: None,
        stale_after=stale_after,
    )


def received(results: Iterator[Job]) -> tuple[list[int], Exception | None]:
    """Return the numbers of the frames that arrive, and what ends them."""
    indices = []
    try:
        for job in results:
            if job.error is not None:
                return indices, job.error
            indices.append(job.frame.index)
    except Exception as error:
        return indices, error
    return indices, None


def waited(event: threading.Event) -> None:
    assert event.wait(WAIT)


@pytest.mark.parametrize("frames", [0, 1, 2, 40])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_frames_leave_in_order_however_long_each_takes(count, frames):
    delays = random.Random(count).choices([0, 0, 0.001, 0.004], k=frames)
    stages = lanes(1, name="prepare"), lanes(count, lambda index: time.sleep(delays[index])), lanes(1, name="decode")
    assert received(through(jobs(frames), *stages)) == (list(range(frames)), None)
    assert [stage.times.count for stage in stages] == [frames] * 3
    assert received(run_in_turn(jobs(frames), stages)) == (list(range(frames)), None)


def test_all_lanes_work_at_once():
    meeting = threading.Barrier(3)
    assert received(through(jobs(9), lanes(3, lambda index: meeting.wait(WAIT)))) == (list(range(9)), None)


def test_no_more_frames_are_under_way_than_lanes():
    free, most = threading.Semaphore(2), []

    def work(index):
        most.append(free.acquire(blocking=False))
        time.sleep(0.001)
        free.release()

    received(through(jobs(30), lanes(2, work)))
    assert most == [True] * 30


def test_lanes_that_finish_backwards_change_no_order():
    done = [threading.Event() for _ in range(9)]

    def work(index):
        if index % 3 < 2:
            waited(done[index + 1])
        done[index].set()

    assert received(through(jobs(9), lanes(3, work))) == (list(range(9)), None)


def test_fast_lanes_go_on_beside_a_slow_one_but_not_without_end():
    first_may_end = threading.Event()
    started = [threading.Event() for _ in range(10)]

    def work(index):
        started[index].set()
        if index == 0:
            waited(first_may_end)

    results = through(jobs(10), lanes(3, work))
    taker = threading.Thread(target=lambda: seen.extend(received(results)))
    seen: list[object] = []
    taker.start()
    waited(started[3])
    assert not started[4].wait(0.05)  # 0 to 3 hold the places there are
    first_may_end.set()
    taker.join(WAIT)
    assert seen == [list(range(10)), None]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("frame", [0, 4, 19])
def test_failure_of_a_lane_keeps_the_frames_before_it(count, frame):
    def work(index):
        time.sleep(0.002 if index == frame - 1 else 0)
        if index == frame:
            raise Planted(index)

    indices, error = received(through(jobs(20), lanes(count, work), lanes(1, name="decode")))
    assert (indices, repr(error)) == (list(range(frame)), f"Planted({frame})")
    assert error.__notes__ == ["in the infer stage"]


def test_of_two_failures_the_earlier_frame_counts_not_the_earlier_time():
    later_failed = threading.Event()

    def work(index):
        if index == 5:
            later_failed.set()
            raise Planted(5)
        if index == 4:
            waited(later_failed)
            raise Planted(4)

    indices, error = received(through(jobs(20), lanes(2, work)))
    assert (indices, repr(error)) == ([0, 1, 2, 3], "Planted(4)")


def test_of_failures_in_two_stages_the_earlier_frame_counts():
    infer_failed = threading.Event()

    def infer(index):
        if index == 6:
            infer_failed.set()
            raise Planted("infer")

    def decode(index):
        if index == 3:
            waited(infer_failed)
            raise Planted("decode")

    indices, error = received(through(jobs(20), lanes(2, infer), lanes(1, decode, name="decode")))
    assert (indices, repr(error)) == ([0, 1, 2], "Planted('decode')")


def test_failure_to_read_keeps_the_frames_under_way():
    failed = threading.Event()

    def feed():
        yield from jobs(5)
        failed.set()
        raise Planted("read")

    indices, error = received(through(feed(), lanes(3, lambda index: waited(failed) if index == 4 else None)))
    assert (indices, repr(error)) == ([0, 1, 2, 3, 4], "Planted('read')")


def test_leaving_while_lanes_are_at_work_ends_all_threads():
    started = threading.Semaphore(0)

    def work(index):
        started.release()
        time.sleep(0.01)

    with closing(through(jobs(1000), lanes(3, work))) as results:
        assert next(results).frame.index == 0
        assert all(started.acquire(timeout=WAIT) for _ in range(4))
    assert pipeline_threads() == []


def test_busy_lanes_of_a_live_source_leave_the_freshest_frame_waiting():
    taken, all_read, counts = [threading.Event(), threading.Event()], threading.Event(), Counts()

    def feed():
        for job in jobs(10):
            yield job
            if job.frame.index < 2:
                waited(taken[job.frame.index])
        all_read.set()

    def work(index):
        if index < 2:
            taken[index].set()
            waited(all_read)

    assert received(through(feed(), lanes(2, work), counts=counts, live=True)) == ([0, 1, 9], None)
    assert counts.dropped == 7


@contextmanager
def taken(results: Iterator[Job]) -> Iterator[list[object]]:
    """Let another thread take the results; give the list that is `received` then, once all have come."""
    seen: list[object] = []
    taker = threading.Thread(target=lambda: seen.extend(received(results)))
    taker.start()
    yield seen
    taker.join(WAIT)
    assert not taker.is_alive()


class Others:
    """Those who share an engine that is busy: one has begun the frame that is next, until they leave."""

    def __init__(self, line: SharedEngine) -> None:
        self.line = line
        self.come()

    def come(self) -> None:
        assert self.line.begin(self.line.draw(), WAIT)

    def leave(self) -> None:
        self.line.end()

    def see(self, waiting: int) -> None:
        """Return once so many threads stand behind them."""
        wait_until(lambda: len(self.line._waiting) == 1 + waiting)


@pytest.fixture
def others():
    may_end = threading.Event()
    engine = FakeEngine(gate=lambda call: waited(may_end))
    line = share(engine)
    computing = threading.Thread(target=line.infer, args=({"image": np.zeros((1, 3, 32, 64), np.float32)},))
    computing.start()
    wait_until(lambda: engine.calls == 1)
    yield Others(line)
    may_end.set()
    computing.join(WAIT)


def test_frame_is_taken_when_its_turn_has_come_and_is_the_newest_then(others):
    counts, all_read = Counts(), threading.Event()

    def feed():
        yield from jobs(10)
        all_read.set()

    stages = lanes(1, name="prepare", line=others.line), lanes(1, line=others.line), lanes(1, name="decode")
    with taken(through(feed(), *stages, counts=counts, live=True)) as seen:
        waited(all_read)
        others.leave()
    assert seen == [[9], None]
    assert counts.dropped == 9


@pytest.mark.parametrize("live", [True, False])
def test_who_had_too_old_a_frame_at_its_turn_is_next_with_another_and_holds_nobody_up(others, monkeypatch, live):
    monkeypatch.setattr(workers, "POLL_SECONDS", WAIT)  # whoever stands in line stays there
    counts, may_go_on, order = Counts(), threading.Event(), []

    def feed():
        old, new = jobs(2)
        yield replace(old, frame=replace(old.frame, captured_at=time.monotonic() - 100))
        waited(may_go_on)
        yield new

    def rival():
        others.come()
        order.append("rival")
        others.leave()

    stage = lanes(1, lambda index: order.append(index), line=others.line)
    with taken(through(feed(), stage, counts=counts, live=live, stale_after=50)) as seen:
        others.see(waiting=1)
        others.leave()
        wait_until(lambda: counts.stale == 1)
        others.come()
        thread = threading.Thread(target=rival)
        thread.start()
        others.see(waiting=1)
        may_go_on.set()
        others.see(waiting=2)
        others.leave()
    thread.join(WAIT)
    assert (seen, order, counts.stale) == ([[1], None], [1, "rival"], 1)


def test_last_frame_of_a_source_is_computed_however_long_it_stood_in_line(others):
    with taken(through(jobs(3), lanes(1, line=others.line), live=True, stale_after=1e-9)) as seen:
        others.see(waiting=1)
        wait_until(lambda: "solo-rt read" not in {thread.name for thread in pipeline_threads()})
        others.leave()
    assert seen == [[2], None]


def test_engine_is_held_until_a_frame_is_computed_even_if_that_fails(others):
    others.leave()

    def fail(index):
        assert not others.line.begin(others.line.draw(), timeout=0)
        raise Planted(index)

    results = through(jobs(3), lanes(1, name="prepare", line=others.line), lanes(1, fail, line=others.line), live=True)
    indices, error = received(results)
    assert (indices, repr(error)[:7]) == ([], "Planted")
    others.come()


def test_run_that_is_stopped_does_not_wait_for_its_turn(others):
    counts, stop = Counts(), threading.Event()
    stage = lanes(1, line=others.line)
    with taken(through(jobs(1), stage, counts=counts, live=True, stop=stop)) as seen:
        others.see(waiting=1)
        stop.set()
    assert seen == [[], None]
    assert not stage.times.count


def test_leaving_while_a_frame_waits_for_its_turn_ends_all_threads(others):
    others.leave()

    def feed():
        yield from jobs(1)
        others_are_in.acquire(timeout=WAIT)
        yield from jobs(1)

    others_are_in = threading.Semaphore(0)
    with closing(through(feed(), lanes(1, line=others.line), live=True)) as results:
        next(results)
        others.come()
        others_are_in.release()
        others.see(waiting=1)
    assert pipeline_threads() == []
