"""The schedule of threads and lanes, with stages that say when they go on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from fakes import Planted, colour_frame, pipeline_threads

from solo_rt.pipeline.stage import Counts, Job, Stage
from solo_rt.pipeline.workers import run_in_turn, run_threaded

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


def jobs(count: int) -> Iterator[Job]:
    return (Job(colour_frame(index)) for index in range(count))


def lanes(count: int, work: Callable[[int], object] = lambda index: None, *, name: str = "infer") -> Stage:
    """Return a stage whose lanes call `work` with the frame's number."""
    return Stage(name, lambda job: work(job.frame.index), lanes=count)


def through(feed: Iterator[Job], *stages: Stage, counts: Counts | None = None, live: bool = False):
    return run_threaded(feed, stages, counts or Counts(), live=live, stop=threading.Event(), on_wait=lambda: None)


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
