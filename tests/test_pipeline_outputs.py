"""An output that fails ends alone, and goes on where it can."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import closing

import pytest
from children import WAIT, wait_until
from clips import result_of, yuv_frame

from solo_rt.errors import SinkError
from solo_rt.pipeline import output as output_module
from solo_rt.pipeline import outputs as outputs_module
from solo_rt.pipeline.output import Failure
from solo_rt.pipeline.outputs import Outputs
from solo_rt.result import Result
from solo_rt.sink import Gap


class Shaky:
    """A sink that fails on the frames, and on the resumes, that it is told to fail on."""

    needs_picture = takes_gpu_pictures = False

    def __init__(self, *, fails: tuple[int, ...] = (), can_resume: bool = False, fails_to_close: bool = False) -> None:
        self.uri = "rtmp://user:secret@host/shaky"
        self.can_resume = can_resume
        self.got: list[object] = []
        self.events: list[object] = []
        self._fails, self._fails_to_close = fails, fails_to_close

    def write(self, result: Result) -> None:
        if result.frame.index in self._fails:
            raise SinkError(f"output shaky: no room for {result.frame.index}")
        self.got.append(result.frame.index)

    def note(self, event: Mapping[str, object]) -> None:
        self.events.append(event)

    def resume(self, gap: Gap) -> None:
        self.got.append(gap)

    def close(self) -> None:
        if self._fails_to_close:
            raise SinkError("output shaky: no room for the end")


class Tied:
    """A sink that can be finished only while another one is."""

    needs_picture = takes_gpu_pictures = can_resume = False
    uri = "tied"

    def __init__(self, mine: threading.Event, others: threading.Event) -> None:
        self._mine, self._others = mine, others
        self.is_whole = False

    def write(self, result: Result) -> None:
        pass

    def note(self, event: Mapping[str, object]) -> None:
        pass

    def close(self) -> None:
        self._mine.set()
        self.is_whole = self._others.wait(WAIT)


def test_all_outputs_are_finished_at_once() -> None:
    one, two = threading.Event(), threading.Event()
    sinks = [Tied(one, two), Tied(two, one)]
    stop = threading.Event()
    outputs = Outputs(sinks, stop=stop)
    outputs.write(result_of(yuv_frame(0)))
    stop.set()
    outputs.close()
    assert [sink.is_whole for sink in sinks] == [True, True]
    assert outputs.failures == ()


def write_all(outputs: Outputs, count: int = 6) -> None:
    for i in range(count):
        outputs.write(result_of(yuv_frame(i)))
    outputs.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "RETRY_SECONDS", 0.0)


def test_an_output_that_fails_for_good_ends_alone() -> None:
    bad, good = Shaky(fails=(2,)), Shaky()
    outputs = Outputs([bad, good])
    write_all(outputs)
    assert (bad.got, good.got) == ([0, 1], [0, 1, 2, 3, 4, 5])
    assert outputs.failures == (Failure("rtmp://***@host/shaky", 4, "output shaky: no room for 2"),)


def test_an_output_that_can_goes_on_behind_a_gap() -> None:
    sink = Shaky(fails=(1, 2, 4), can_resume=True)
    outputs = Outputs([sink])
    write_all(outputs)
    assert sink.got == [0, Gap(1, 1), Gap(2, 1), 3, Gap(4, 1), 5]
    (failure,) = outputs.failures
    assert (failure.missed, failure.reason) == (3, "output shaky: no room for 1")


def test_a_failed_output_is_not_tried_with_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "RETRY_SECONDS", 3600.0)
    sink = Shaky(fails=(1,), can_resume=True)
    outputs = Outputs([sink])
    write_all(outputs)
    assert outputs.failures[0].missed == 5
    assert sink.got == [0, Gap(1, 5)], "the gap at the end is noted as well"


def test_a_run_ends_when_no_output_is_left() -> None:
    outputs = Outputs([Shaky(fails=(1,)), Shaky(fails=(2,))])
    with closing(outputs), pytest.raises(SinkError, match="no room for 1"):
        for i in range(10_000):
            outputs.write(result_of(yuv_frame(i)))


def test_a_run_that_is_watched_goes_on_without_outputs() -> None:
    sink = Shaky(fails=(1,))
    outputs = Outputs([sink], may_all_fail=True)
    write_all(outputs)
    assert sink.got == [0]
    assert outputs.failures[0].missed == 5


def test_all_outputs_are_closed_and_what_fails_is_told() -> None:
    said: list[str] = []
    outputs = Outputs([Shaky(fails_to_close=True), Shaky()], on_step=said.append)
    outputs.close()
    assert outputs.failures == (Failure("rtmp://***@host/shaky", 0, "output shaky: no room for the end"),)
    assert said == ["finishing rtmp://***@host/shaky", "waiting for a frame"] * 2


def test_no_output_needs_nothing_and_never_fails() -> None:
    outputs = Outputs()
    write_all(outputs)
    assert not outputs.need_picture
    assert not outputs.take_gpu_pictures
    assert outputs.failures == ()


def test_a_slow_output_holds_nobody_up_and_misses_what_newer_results_replace() -> None:
    go_on = threading.Event()
    slow, fast = Shaky(), Shaky()
    slow.write = lambda result: (go_on.wait(WAIT), slow.got.append(result.frame.index))[0]  # type: ignore[assignment]
    outputs = Outputs([slow, fast])
    outputs.prepare(freshest=True, in_turn=False)
    for i in range(20):
        outputs.write(result_of(yuv_frame(i)))
        wait_until(lambda: len(fast.got) == i + 1)  # noqa: B023
    go_on.set()
    outputs.close()
    assert fast.got == list(range(20))
    assert slow.got == [0, 18, 19]
    assert slow.events == [{"gap": {"frame": 1, "frames": 17}}]
    assert outputs.behind == {"rtmp://***@host/shaky": 17}
    assert outputs.failures == ()


def test_a_slow_output_of_a_file_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "POLL_SECONDS", 0.0001)  # it has no room for that long, again and again
    slow = Shaky()
    slow.write = lambda result: (time.sleep(0.002), slow.got.append(result.frame.index))[0]  # type: ignore[assignment]
    write_all(Outputs([slow]), 20)
    assert slow.got == list(range(20))


def test_an_output_that_hangs_is_left_behind_once_the_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "GIVE_UP_SECONDS", 0.2)
    go_on, stop = threading.Event(), threading.Event()
    hung, good = Shaky(), Shaky()
    hung.write = lambda result: go_on.wait(WAIT)  # type: ignore[assignment]
    outputs = Outputs([hung, good], stop=stop)
    stop.set()
    for i in range(6):
        outputs.write(result_of(yuv_frame(i)))
    outputs.close()
    assert good.got == [0, 1, 2, 3, 4, 5]
    (failure,) = outputs.failures
    assert "it does not take its results, and was given up" in failure.reason
    assert failure.missed == 6  # the one it hangs in, two that wait, one without room, and those after it
    assert not outputs.need_picture
    go_on.set()


def test_the_only_output_may_hang_when_the_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "GIVE_UP_SECONDS", 0.1)
    go_on, stop, hung = threading.Event(), threading.Event(), Shaky()
    hung.write = lambda result: go_on.wait(WAIT)  # type: ignore[assignment]
    outputs = Outputs([hung], stop=stop)
    stop.set()
    write_all(outputs)
    assert outputs.failures[0].missed == 6
    go_on.set()


def test_an_output_that_goes_on_after_a_stop_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "POLL_SECONDS", 0.01)
    stop, slow = threading.Event(), Shaky()
    slow.write = lambda result: (time.sleep(0.1), slow.got.append(result.frame.index))[0]  # type: ignore[assignment]
    outputs = Outputs([slow], stop=stop)
    stop.set()
    write_all(outputs, 4)
    assert slow.got == [0, 1, 2, 3]
    assert not outputs.failures


def test_what_a_sink_of_ones_own_raises_is_raised_with_its_traceback() -> None:
    sink = Shaky()
    sink.write = lambda result: 1 / 0  # type: ignore[assignment]
    outputs = Outputs([sink, Shaky()])
    with pytest.raises(ZeroDivisionError) as caught:
        write_all(outputs)
    assert caught.value.__notes__ == ["in the sink stage"]
    assert "lambda" in "".join(traceback.format_exception(caught.value))
    outputs.close()


def test_events_come_between_the_results_before_and_after_them() -> None:
    sink = Shaky()
    sink.note = sink.got.append  # type: ignore[assignment]
    outputs = Outputs([sink])
    outputs.prepare(freshest=False, in_turn=True)
    outputs.write(result_of(yuv_frame(0)))
    outputs.note({"source_state": "stalled"})
    outputs.write(result_of(yuv_frame(1)))
    outputs.note({"source_state": "lost"})
    outputs.close()
    assert sink.got == [0, {"source_state": "stalled"}, 1, {"source_state": "lost"}]


def test_an_event_that_could_not_be_noted_is_noted_later() -> None:
    sink, full = Shaky(can_resume=True), [True]

    def note(event: Mapping[str, object]) -> None:
        if full:
            full.pop()
            raise SinkError("output shaky: no room for an event")
        sink.got.append(event)

    sink.note = note  # type: ignore[method-assign]
    outputs = Outputs([sink])
    outputs.prepare(freshest=False, in_turn=True)
    outputs.write(result_of(yuv_frame(0)))
    outputs.note({"source_state": "connecting"})
    outputs.write(result_of(yuv_frame(1)))
    outputs.note({"source_state": "live"})
    outputs.write(result_of(yuv_frame(2)))
    outputs.close()
    assert sink.got == [0, Gap(1, 1), {"source_state": "connecting"}, {"source_state": "live"}, 2]
