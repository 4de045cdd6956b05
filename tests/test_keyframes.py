"""`--keyframe-interval`: which frames are computed, and what becomes of the others in a run."""

from __future__ import annotations

import json
import logging
from itertools import pairwise

import numpy as np
import pytest
from fakes import STREET_SPEC, FakeEngine, FakeSink, FakeSource

from solo_rt.errors import EngineError, UsageError
from solo_rt.pipeline import Pipeline, run, stream
from solo_rt.pipeline.keyframes import Keyframes
from solo_rt.pipeline.options import Options
from solo_rt.types import Frame, Instances
from solo_rt.world import World

pytestmark = pytest.mark.usefixtures("never_hang")

WORLD = "test://?size=320x180&frames=13&seed=3"


class Slides(FakeSource):
    """Pictures of one world, in the given order."""

    def __init__(self, *indices: int, sizes: tuple[tuple[int, int], ...] = ((180, 320),)) -> None:
        super().__init__(len(indices))
        self._indices, self._sizes = indices, sizes

    def __iter__(self):
        for number, index in enumerate(self._indices):
            height, width = self._sizes[number % len(self._sizes)]
            scene = World(index // 1000, height=height, width=width).render(index % 1000)
            yield Frame((scene.rgb,), "rgb24", index=number, pts=number, time_base=self.info.time_base)


def computed(results):
    """Return the frames that the network has computed."""
    return [result.frame.index for result in results if "infer" in result.stage_seconds]


@pytest.mark.parametrize(("interval", "expected"), [(1, [*range(13)]), (4, [0, 4, 8, 12]), (50, [0])])
def test_every_so_manieth_frame_is_computed(interval, expected):
    results = list(stream(WORLD, keyframe_interval=interval))
    assert computed(results) == expected
    assert [result.frame.index for result in results] == [*range(13)]
    assert min(len(result.instances) for result in results) > 0


def test_frames_that_are_left_out_do_not_count():
    results = list(stream(WORLD, keyframe_interval=3, max_fps=10))
    assert [result.frame.index for result in results] == [0, 3, 6, 9, 12]
    assert computed(results) == [0, 9]


def test_an_interval_of_one_and_none_at_all_find_the_same():
    plain, all_keys = (list(stream(WORLD, keyframe_interval=interval)) for interval in (None, 1))
    assert [result.instances.rles() for result in plain] == [result.instances.rles() for result in all_keys]
    assert {*all_keys[0].stage_seconds} - {*plain[0].stage_seconds} == {"choose", "move"}


@pytest.mark.parametrize("interval", [3, "auto"])
def test_threads_and_lanes_give_what_the_plain_loop_gives(interval):
    def found(**how):
        return [result.instances.rles() for result in stream(WORLD, keyframe_interval=interval, **how)]

    assert found(sync=True) == found(lanes=3) == found()


def test_with_auto_a_still_picture_is_computed_once():
    results = list(stream(Slides(*[5] * 20), keyframe_interval="auto"))
    assert computed(results) == [0]
    assert len({json.dumps(result.instances.rles()) for result in results}) == 1


def test_with_auto_what_moves_is_computed_now_and_then():
    results = list(stream(Slides(*range(40)), keyframe_interval="auto"))
    keys = computed(results)
    assert 5 <= len(keys) < 20
    assert max(np.diff(keys)) <= 8


@pytest.mark.parametrize("interval", [30, "auto"])
def test_a_cut_and_a_picture_of_another_size_are_computed_at_once(interval):
    cut = Slides(5, 5, 5, 9005, 9005, 9005)
    assert computed(stream(cut, keyframe_interval=interval)) == [0, 3]
    sized = Slides(*[5] * 4, sizes=((180, 320), (180, 320), (360, 640), (360, 640)))
    assert computed(stream(sized, keyframe_interval=interval)) == [0, 2]


def test_tracks_and_outlines_go_on_between_key_frames():
    results = list(stream(WORLD, keyframe_interval=4, track=True, refine=True, render=True))
    ids = [set(result.instances.track_ids.tolist()) for result in results]
    assert all(len(one & other) > 0.7 * len(one) > 0 for one, other in pairwise(ids))
    assert all(result.rendered is not None for result in results)


def test_frames_of_a_key_frame_that_failed_fail_until_the_next_one(caplog):
    def gate(call):
        if call == 1:
            raise EngineError("no")

    with caplog.at_level(logging.WARNING):
        sink = FakeSink()
        options = Options(keyframe_interval=4, max_failures=9, sync=True, conf=0.0)
        report = run(Slides(*[5] * 12), FakeEngine(gate=gate), [sink], options=options)
    # Of frames 4 and 5 one fails in the engine, the other one lacks it; 6 is computed in the place of 4.
    assert (report.failed, report.processed, report.moved) == (2, 10, 7)
    assert "frame 4 is left out: no" in caplog.text


def test_a_key_frame_that_is_not_there_is_an_error():
    keyframes, frames = Keyframes(9), list(Slides(5, 5, 5, 5))
    first, second = keyframes.choose(frames[0]), keyframes.choose(frames[1])
    with pytest.raises(EngineError, match="nothing is known of the key frame, which has failed"):
        keyframes.follow(second, None)
    third = keyframes.choose(frames[2])
    assert (first.key, second.key, third.key, third.change) == (1, 1, 2, None)
    nothing = Instances.none((180, 320))
    assert keyframes.follow(third, nothing) is nothing
    assert len(keyframes.follow(keyframes.choose(frames[3]), None)) == 0


def test_each_of_several_sources_has_key_frames_of_its_own():
    sources = {"a": WORLD, "b": "test://?size=256x144&frames=9&seed=4"}
    report = Pipeline(sources=sources, options=Options(keyframe_interval=4)).run()
    assert {name: one.moved for name, one in report.sources.items()} == {"a": 9, "b": 6}
    assert report.moved == 15
    assert report.to_record()["frames"]["moved"] == 15


def test_an_engine_that_takes_frames_is_not_asked_between_key_frames():
    class FrameTaker(FakeEngine):
        def infer_frame(self, frame, painting=None):
            return self.infer({"image": np.zeros(1)}), None

    engine, sink = FrameTaker(), FakeSink(needs_picture=True)
    run(Slides(*[5] * 7), engine, [sink], options=Options(keyframe_interval=3, conf=0.0))
    assert (engine.calls, len(sink.pictures)) == (3, 7)


@pytest.mark.parametrize("interval", [0, -3])
def test_an_interval_below_one_is_refused(interval):
    with pytest.raises(UsageError, match=f"keyframe_interval must be at least 1, or auto, got {interval}"):
        Options(keyframe_interval=interval)


def test_semantic_models_have_no_key_frames():
    with pytest.raises(UsageError, match="keyframe_interval are about instances, and street finds none"):
        run(FakeSource(), FakeEngine(spec=STREET_SPEC), [FakeSink()], options=Options(keyframe_interval=2))


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "often", ""])
def test_the_option_says_what_it_takes(text, solo):
    code, _, err = solo("run", "--source", WORLD, "--keyframe-interval", text)
    assert code == 2
    assert f"expected a whole number from 1 on, or auto, got {text!r}" in err


def test_the_summary_says_how_many_were_computed_and_how_many_moved(solo):
    code, out, _ = solo("run", "--source", WORLD, "--keyframe-interval", 4)
    assert code == 0
    assert "4 computed, 9 moved" in out
    assert "a: " in solo("run", "--source", f"a={WORLD}", "--source", f"b={WORLD}", "--keyframe-interval", "auto")[1]
