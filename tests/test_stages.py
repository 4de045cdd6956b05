from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from fakes import colour_frame

from solo_rt.errors import UsageError
from solo_rt.pipeline.frame_rate import FrameRateLimit
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.stage import Job, Stage


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
    job = Job(colour_frame(0))
    stage(job)
    assert (repr(job.error), job.error.__notes__) == ("ValueError('no')", ["in the infer stage"])
    assert (stage.is_busy, stage.times.stats(1.0).count) == (False, 0)


def test_a_stage_leaves_a_job_alone_that_failed_before():
    job = Job(colour_frame(0), error=ValueError("no"))
    stage = Stage("decode", lambda _job: pytest.fail("it must not be called"))
    stage(job)
    assert (repr(job.error), stage.times.stats(1.0).count) == ("ValueError('no')", 0)


@pytest.mark.parametrize("wrong", [{"policy": "newest"}, {"max_staleness": 0}, {"max_staleness": math.inf}])
def test_policy_and_staleness_must_make_sense(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Options(**wrong)
