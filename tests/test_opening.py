"""The ends of a run: what is opened at once, what in turn, and what becomes of the one when the other fails."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from fakes import FakeEngine, FakeSource, ends_all_threads, pipeline_threads

from solo_rt.errors import EngineError, SourceError
from solo_rt.pipeline import Hooks, Pipeline, opening

WAIT = 30.0  # seconds; only a failing test takes that long


@pytest.fixture(autouse=True)
def _never_hang():
    with ends_all_threads():
        yield


@pytest.fixture
def clip(tmp_path):
    """Return a file: what it holds is the business of a fake that opens it."""
    path = tmp_path / "clip.mp4"
    path.touch()
    return str(path)


class Ends:
    """Opens a fake source and a fake engine, once `source` and `engine` let it."""

    def __init__(self, monkeypatch):
        self.source = self.engine = lambda: None
        self.opened: list[str] = []
        self.made = FakeEngine()
        monkeypatch.setattr(opening, "open_source", self._open_source)
        monkeypatch.setattr(opening, "open_engine", self._open_engine)

    def _open_source(self, uri, **settings):
        self.source()
        self.opened.append("source")
        return FakeSource(2)

    def _open_engine(self, model, **settings):
        self.engine()
        self.opened.append("engine")
        return self.made


@pytest.fixture
def ends(monkeypatch):
    return Ends(monkeypatch)


def test_a_file_and_the_model_are_opened_at_once(ends, clip):
    meeting = threading.Barrier(2, timeout=WAIT)
    ends.source = ends.engine = meeting.wait
    steps = []
    assert Pipeline(clip, hooks=Hooks(on_step=steps.append)).run().processed == 2
    assert steps == ["opening the source", "loading the model", "waiting for a frame"]
    assert ends.made.closed


def test_what_may_be_live_is_opened_before_the_model(ends):
    Pipeline("camera:0").run()
    assert ends.opened == ["source", "engine"]


def test_a_model_that_is_open_when_its_file_turns_out_to_be_damaged_is_closed(ends, clip):
    def fail():
        begun.wait(WAIT)
        raise SourceError("damaged")

    def open_late():
        begun.set()
        may_open.wait(WAIT)

    begun, may_open = threading.Event(), threading.Event()
    ends.source, ends.engine = fail, open_late
    with pytest.raises(SourceError, match="damaged"):
        Pipeline(clip).run()
    assert not ends.made.closed, "nobody waits for it"
    (thread,) = pipeline_threads()
    may_open.set()
    thread.join(WAIT)
    assert ends.made.closed


def test_of_a_damaged_file_and_a_damaged_model_the_file_is_named(ends, clip):
    def fail(error):
        raise error

    ends.source, ends.engine = lambda: fail(SourceError("the file")), lambda: fail(EngineError("the model"))
    with pytest.raises(SourceError, match="the file"):
        Pipeline(clip).run()
    for thread in pipeline_threads():
        thread.join(WAIT)
    ends.source = lambda: None
    with pytest.raises(EngineError, match="the model"):
        Pipeline(clip).run()


def test_an_interruption_ends_the_wait_for_the_model_which_is_closed_when_it_is_open(ends, clip):
    stop, may_open = threading.Event(), threading.Event()

    def open_late():
        may_open.wait(WAIT)

    def on_step(doing):
        if doing == "loading the model":
            stop.set()

    ends.engine = open_late
    with pytest.raises(KeyboardInterrupt):
        Pipeline(clip, hooks=Hooks(on_step=on_step)).run(stop=stop)
    (thread,) = pipeline_threads()
    may_open.set()
    thread.join(WAIT)
    assert ends.made.closed


def test_a_program_whose_file_is_damaged_ends_when_its_model_is_open(clip):
    """Native code that goes on while the interpreter takes itself down can crash it."""
    program = f"""
import sys
from solo_rt.errors import EngineError
from solo_rt.pipeline import Pipeline, opening

def open_late(model, **settings):
    sys.stdin.read()
    print("open", flush=True)
    raise EngineError("nobody waits for it")

opening.open_engine = open_late
Pipeline({clip!r}).run()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert any(line.startswith("solo_rt.errors.SourceError: ") for line in process.stderr)
        assert process.communicate(timeout=120) == ("open\n", "")
        assert process.returncode == 1
