"""How far a run or a job is: the figures that people and programs see."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import rich.progress
from clips import info
from fakes import FakeEngine

from solo_rt.commands import progress
from solo_rt.commands.lines import choose_format
from solo_rt.commands.progress import Reporter, show_progress
from solo_rt.pipeline.report import Progress
from solo_rt.pipeline.timing import Percentiles


@pytest.fixture(autouse=True)
def _text_again():
    yield
    choose_format("text")


@pytest.fixture
def clock(monkeypatch):
    """Return what holds the time that the lines go by, in `now`."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def so_far(processed: int, seconds: float, *, p95: float = 0.05, instances: int | None = 3, **counts: int) -> Progress:
    given = {"read": 20, "dropped": 0, "skipped": 0, "failed": 0, **counts}
    return Progress(
        processed=processed,
        instances=instances,
        seconds=seconds,
        stages={"infer": Percentiles(0.02, 0.04)},
        latency=Percentiles(0.03, p95),
        **given,
    )


def test_programs_get_milliseconds_and_the_rate_of_the_last_seconds(clock, capsys):
    choose_format("json")
    reporter = Reporter()
    for processed, seconds in ((10, 1.0), (20, 2.0), (30, 3.0), (90, 6.0), (150, 7.0), (160, 8.0)):
        clock.now += progress.LOG_SECONDS
        reporter(so_far(processed, seconds, dropped=2))
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    # From its fourth line on since second 3, 6 and 6: three seconds before, or the line before if that is longer ago.
    assert [each["fps"] for each in said] == [10, 10, 10, 20, 60, 35]
    assert said[-1]["latency"] == {"p50_ms": 30, "p95_ms": 50}
    assert said[-1]["stages"] == {"infer": {"p50_ms": 20, "p95_ms": 40}}
    assert (said[-1]["frames"], said[-1]["dropped"]) == (160, 2)


def test_lines_come_every_few_seconds_and_say_what_was_dropped(clock, capsys):
    reporter = Reporter()
    for _ in range(2):
        clock.now += progress.LOG_SECONDS / 2
        reporter(so_far(9, 1.0, dropped=4, instances=None))
    assert capsys.readouterr().err == "9 frames, 9.0 fps, 4 dropped\n"


@pytest.mark.parametrize(
    ("frame_count", "max_frames", "live", "shown"),
    [
        (8, None, False, "8/8"),
        (8, 30, False, "8/8"),
        (30, 8, False, "8/8"),
        (None, 8, True, "8/8"),
        (7, None, False, "8"),
    ],
)
def test_the_end_is_shown_where_it_is_known(clock, capsys, frame_count, max_frames, live, shown):
    """Neither of a live source without a limit nor of a file whose estimate was too low."""
    reporter = Reporter()
    reporter.begin(replace(info(live=live), frame_count=frame_count), FakeEngine(), max_frames=max_frames)
    clock.now += progress.LOG_SECONDS
    reporter(so_far(8, 1.0))
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{shown} frames, ")


def test_several_sources_are_shown_together(clock, capsys):
    choose_format("json")
    reporter = Reporter()
    reporter.show_all()
    assert capsys.readouterr().err == "", "none has begun"
    clock.now += progress.LOG_SECONDS
    reporter.hooks_of("a", max_frames=None).on_progress(so_far(10, 4.0, dropped=1, p95=0.2))
    reporter.hooks_of("b", max_frames=None).on_progress(so_far(30, 5.0, dropped=2, instances=None))
    reporter.show_all()
    (said,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (said["frames"], said["fps"], said["dropped"], said["latency"]["p95_ms"]) == (40, 8, 3, 200)
    assert "3 instances" in said["message"]


@pytest.mark.parametrize("quiet", [True, False])
def test_several_sources_have_a_bar_on_a_terminal_unless_all_is_quiet(monkeypatch, capsys, quiet):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    reporter = Reporter(quiet=quiet)
    assert (reporter._bar is None) == quiet
    with reporter.watching(SimpleNamespace(stop=threading.Event())):
        for name in "ab":
            reporter.hooks_of(name, max_frames=None).on_start(info(), FakeEngine())
        assert quiet or reporter._bar.live.is_started
        assert quiet or reporter._bar.live.transient, "the summary takes its place"
    assert quiet or not reporter._bar.live.is_started
    said = [line for line in capsys.readouterr().err.splitlines() if ": " in line]
    assert len(said) == (0 if quiet else 2)


def test_the_bar_counts_frames_that_were_left_out_by_choice(clock, monkeypatch):
    updates = []

    class Bar(rich.progress.Progress):
        def update(self, task, **values):
            updates.append(values)

    monkeypatch.setattr(rich.progress, "Progress", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    reporter = Reporter()
    clock.now += 1.0
    reporter(so_far(4, 1.0, skipped=8))
    assert [(shown["completed"], shown["done"]) for shown in updates] == [(12, "4 frames")]


def test_a_job_says_now_and_then_how_much_time_is_left(clock, capsys):
    with show_progress() as show:
        clock.now += progress.JOB_LOG_SECONDS / 2
        show(2, 10, "too early")
        clock.now += progress.JOB_LOG_SECONDS
        show(4, 10, "loss 1\nmap 2")
        clock.now += progress.JOB_LOG_SECONDS - 1
        show(5, 10, "too early")
    assert capsys.readouterr().err == "4/10 loss 1, map 2, 0:00:30 left\n"


def test_a_job_that_has_not_moved_promises_nothing(clock, capsys):
    with show_progress() as show:
        clock.now += progress.JOB_LOG_SECONDS
        show(0, 10, "loading")
    assert capsys.readouterr().err == "0/10 loading\n"


def test_brackets_of_what_a_job_does_are_no_colours_on_a_terminal(monkeypatch, capsys):
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with show_progress() as show:
        show(1, 2, "reading [red]lot[/red].mp4")
    assert "reading [red]lot[/red].mp4" in capsys.readouterr().err
