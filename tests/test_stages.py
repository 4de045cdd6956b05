from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fakes import TINY_SPEC, FakeEngine, FakeSink, FakeSource, colour_frame

from solo_rt.errors import UsageError
from solo_rt.pipeline import run
from solo_rt.pipeline.stages import SAMPLE, FrameRateLimit, Job, Options, Sanity, Stage
from solo_rt.types import Instances


def kept(times, max_fps, *, live=False):
    """Return the times at which a frame is kept."""
    limit = FrameRateLimit(max_fps, live=live)
    frame = colour_frame(0)
    if live:
        return [t for t in times if limit(replace(frame, captured_at=t))]
    return [t for t in times if limit(replace(frame, pts=round(t * 90000), time_base=frame.time_base * 30 / 90000))]


@pytest.mark.parametrize(("rate", "max_fps"), [(30, 10), (30, 20), (25, 10), (60, 50), (24, 7), (240, 10)])
def test_max_fps_keeps_as_many_frames_per_second_of_video(rate, max_fps):
    times = kept([i / rate for i in range(rate * 10)], max_fps)
    assert set(Counter(int(t + 1e-6) for t in times).values()) == {max_fps}


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_max_fps_at_the_rate_of_the_source_keeps_all_despite_rounded_time_stamps(rate):
    times = [round(i * 1000 / rate) / 1000 for i in range(rate * 20)]
    assert kept(times, rate) == times


def test_max_fps_tolerates_the_jitter_of_a_camera():
    times = [i / 30 + (0.005 if i % 2 else 0) for i in range(300)]
    assert kept(times, 30, live=True) == times


def test_max_fps_goes_on_when_time_jumps():
    times = [0, 0.1, 0.2, 100.0, 100.1, 3.0, 3.1]
    assert kept(times, 10) == times


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"conf": 1.5}, "conf must be in 0..1, got 1.5"),
        ({"conf": float("nan")}, "conf must be"),
        ({"max_det": 0}, "max_det must be at least 1, and at most 1048576, got 0"),
        ({"max_frames": 0}, "max_frames must be at least 1, got 0"),
        ({"max_fps": 0.0}, "max_fps must be above 0 and finite, got 0.0"),
        ({"max_fps": float("nan")}, "max_fps must be above 0"),
    ],
)
def test_options_refuse_what_cannot_work(values, message):
    with pytest.raises(UsageError, match=message):
        Options(**values)


def test_a_stage_is_busy_while_it_has_a_job():
    seen = []
    stage = Stage("infer", lambda job: seen.append(stage.is_busy))
    assert (stage.is_busy, stage.lanes) == (False, 1)
    stage(Job(colour_frame(0)))
    assert (seen, stage.is_busy, stage.times.stats(1.0).count) == ([True], False, 1)


def test_a_stage_that_failed_is_busy_no_longer_and_has_no_time():
    def fail(_job):
        raise ValueError("no")

    stage = Stage("infer", fail)
    with pytest.raises(ValueError, match="no") as caught:
        stage(Job(colour_frame(0)))
    assert caught.value.__notes__ == ["in the infer stage"]
    assert (stage.is_busy, stage.times.stats(1.0).count) == (False, 0)


class Broken(FakeEngine):
    """Gives scores multiplied by a number, which may be none."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def infer(self, inputs):
        outputs = super().infer(inputs)
        with np.errstate(invalid="ignore"):
            return {**outputs, "scores": outputs["scores"] * np.float32(self.factor)}


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, None),
        (20.0, "a score is"),
        (np.inf, "output scores holds NaN or infinite"),
        (np.nan, "output scores holds"),
    ],
)
def test_a_broken_model_is_said_once_and_its_records_stay_json(factor, said, caplog):
    sink = FakeSink()
    with caplog.at_level(logging.WARNING), np.errstate(invalid="ignore"):
        run(FakeSource(5), Broken(factor), [sink])
    lines = json.loads(json.dumps(sink.records, allow_nan=False))
    scores = [instance["score"] for line in lines for instance in line["instances"]]
    assert all(0 <= score <= 1 for score in scores)
    assert (max(scores, default=0) == 1) == (factor in (20.0, np.inf))
    broken = [record.getMessage() for record in caplog.records if "its weights are broken" in record.getMessage()]
    assert all(message.startswith("model tiny: ") for message in broken)
    assert len({message.split(":")[1] for message in broken}) == len(broken)
    assert (said is None and not broken) or sum(said in message for message in broken) == 1


def test_every_number_of_a_small_output_is_looked_at(caplog):
    for size in (1, 2, 7, SAMPLE):
        for place in {0, size // 2, size - 1}:
            values = np.zeros(size, np.float32)
            values[place] = np.nan
            caplog.clear()
            Sanity(TINY_SPEC.name).check({"scores": values})
            assert len(caplog.records) == 1
    caplog.clear()
    Sanity("x").check({"labels": np.zeros(3, np.uint8), "none": np.zeros((0, 4), np.float32)})
    assert not caplog.records


def test_scores_of_exactly_one_are_as_they_should_be(caplog):
    found = Instances.none((4, 4))
    assert Sanity("x").scored(found) is found
    assert not caplog.records
