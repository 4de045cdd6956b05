"""Functions that a run calls."""

from __future__ import annotations

import pytest
from fakes import FakeEngine, FakeSource, write_tiny_model

from solo_rt.errors import SourceError
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.running import run


def test_hooks_may_be_joined():
    calls = []
    first = Hooks(on_step=lambda text: calls.append(("first", text)), on_drop=lambda count: calls.append(count))
    second = Hooks(on_step=lambda text: calls.append(("second", text)))
    joined = first.also(second)
    joined.on_step("x")
    joined.on_drop(3)
    assert calls == [("first", "x"), ("second", "x"), 3]
    assert joined.on_frame is None


def test_what_ends_a_run_is_told_before_it_is_raised(tmp_path):
    told = []
    hooks = Hooks(on_failure=told.append)
    with pytest.raises(SourceError) as here:
        Pipeline("no/film.mp4", write_tiny_model(tmp_path / "tiny.onnx"), hooks=hooks).run()
    with pytest.raises(SourceError, match="cable") as there:
        run(FakeSource(9, error=SourceError("cable"), fail_at=2), FakeEngine(), [], hooks=hooks)
    assert told == [here.value, there.value]


def test_every_run_tells_what_it_begins_with():
    begun = []
    source, engine = FakeSource(2), FakeEngine()
    run(source, engine, [], hooks=Hooks(on_start=lambda *what: begun.append(what)))
    assert begun == [(source.info, engine)]
