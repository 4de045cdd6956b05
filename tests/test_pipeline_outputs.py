"""An output that fails ends alone, and goes on where it can."""

from __future__ import annotations

import pytest
from clips import result_of, yuv_frame

from solo_rt.errors import SinkError
from solo_rt.pipeline import outputs as outputs_module
from solo_rt.pipeline.outputs import Failure, Outputs
from solo_rt.sink import Gap
from solo_rt.types import Result


class Shaky:
    """A sink that fails on the frames, and on the resumes, that it is told to fail on."""

    needs_picture = takes_gpu_pictures = False

    def __init__(self, *, fails: tuple[int, ...] = (), can_resume: bool = False, fails_to_close: bool = False) -> None:
        self.uri = "rtmp://user:secret@host/shaky"
        self.can_resume = can_resume
        self.got: list[int | Gap] = []
        self._fails, self._fails_to_close = fails, fails_to_close

    def write(self, result: Result) -> None:
        if result.frame.index in self._fails:
            raise SinkError(f"output shaky: no room for {result.frame.index}")
        self.got.append(result.frame.index)

    def resume(self, gap: Gap) -> None:
        self.got.append(gap)

    def close(self) -> None:
        if self._fails_to_close:
            raise SinkError("output shaky: no room for the end")


def write_all(outputs: Outputs, count: int = 6) -> None:
    for i in range(count):
        outputs.write(result_of(yuv_frame(i)))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "RETRY_SECONDS", 0.0)


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
    monkeypatch.setattr(outputs_module, "RETRY_SECONDS", 3600.0)
    sink = Shaky(fails=(1,), can_resume=True)
    outputs = Outputs([sink])
    write_all(outputs)
    assert sink.got == [0]
    assert outputs.failures[0].missed == 5
    outputs.close()
    assert sink.got == [0, Gap(1, 5)], "the gap at the end is noted as well"


def test_a_run_ends_when_no_output_is_left() -> None:
    outputs = Outputs([Shaky(fails=(1,)), Shaky(fails=(2,))])
    write_all(outputs, 2)
    with pytest.raises(SinkError, match="no room for 1"):
        outputs.write(result_of(yuv_frame(2)))


def test_all_outputs_are_closed_and_what_fails_is_told() -> None:
    said: list[str] = []
    outputs = Outputs([Shaky(fails_to_close=True), Shaky()], on_step=said.append)
    outputs.close()
    assert outputs.failures == (Failure("rtmp://***@host/shaky", 0, "output shaky: no room for the end"),)
    assert said == ["finishing rtmp://***@host/shaky"] * 2


def test_no_output_needs_nothing_and_never_fails() -> None:
    outputs = Outputs()
    write_all(outputs)
    assert not outputs.need_picture
    assert not outputs.take_gpu_pictures
    assert outputs.failures == ()
