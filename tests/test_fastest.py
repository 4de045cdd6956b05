"""Which engine is the fastest is measured once, and remembered for as long as nothing changes."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from fakes import FakeEngine

from solo_rt import cpu, doctor, engine
from solo_rt.device import Device
from solo_rt.engine import fastest, open_engine
from solo_rt.engine.fastest import Candidate, measure, open_fastest, recall
from solo_rt.errors import EngineError

AUTO = Device("auto")
QUICK, SLOW = Candidate("quick", "fp32"), Candidate("slow", "fp32")


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "MEASURING_SECONDS", 0.0)
    monkeypatch.setattr(fastest, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(fastest, "is_busy", lambda: False)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"model")
    return path


class Opener:
    """Opens an engine per candidate, each as slow as its name says, and keeps them by candidate."""

    def __init__(self, *failing: Candidate) -> None:
        self.failing = failing
        self.opened: list[Candidate] = []
        self.engines: dict[Candidate, FakeEngine] = {}

    def __call__(self, candidate):
        self.opened.append(candidate)
        if candidate in self.failing:
            raise EngineError(f"no {candidate}")
        seconds = 0.001 if candidate == QUICK else 0.01
        self.engines[candidate] = FakeEngine(gate=lambda call: time.sleep(seconds))
        return self.engines[candidate]


def choose(model, opener, *candidates, device=AUTO, threads=2):
    engine = open_fastest(model, candidates or (SLOW, QUICK), opener, device=device, threads=threads, lanes=1)
    return next(candidate for candidate, each in opener.engines.items() if each is engine)


def test_the_fastest_stays_open_and_the_others_are_closed(model):
    opener = Opener()
    assert choose(model, opener) is QUICK
    assert (opener.engines[QUICK].closed, opener.engines[SLOW].closed) == (False, True)
    assert opener.engines[QUICK].calls == fastest.LEAST_ROUNDS


def test_it_is_measured_once(model):
    choose(model, Opener())
    again = Opener()
    assert choose(model, again) == QUICK
    assert again.opened == [QUICK]
    assert again.engines[QUICK].calls == 0
    assert list(recall(model, (SLOW, QUICK), device=AUTO, threads=2, lanes=1)) == ["slow fp32", "quick fp32"]


def test_what_a_busy_machine_measured_counts_until_it_is_quiet(model, monkeypatch):
    opened = []
    for busy in (True, True, False, True, False):
        monkeypatch.setattr(fastest, "is_busy", lambda busy=busy: busy)
        opener = Opener()
        choose(model, opener)
        opened.append(len(opener.opened))
    assert opened == [2, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "change", ["model", "threads", "candidates", "record", "package", "device", "forbidden", "instructions"]
)
def test_it_is_measured_again_when_something_has_changed(model, tmp_path, monkeypatch, change):
    package = tmp_path / "openvino.py"
    package.touch()
    monkeypatch.setattr(fastest, "find_spec", lambda name: SimpleNamespace(origin=str(package)))
    choose(model, Opener())
    again = Opener()
    if change == "package":
        os.utime(package, (0, 0))
    if change == "model":
        model.write_bytes(b"another model")
    if change == "forbidden":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    if change == "instructions":
        genuine = cpu.cpu_field
        monkeypatch.setattr(cpu, "cpu_field", lambda name, *root: "none" if name == "flags" else genuine(name, *root))
    if change == "record":
        for record in (tmp_path / "cache").rglob("*.json"):
            record.write_text("{}")
    candidates = (QUICK, SLOW) if change == "candidates" else (SLOW, QUICK)
    device, threads = Device("cpu") if change == "device" else AUTO, 1 if change == "threads" else 2
    assert choose(model, again, *candidates, device=device, threads=threads) is QUICK
    assert len(again.opened) == 2


def test_what_cannot_be_opened_is_passed_over_unless_nothing_is_left(model, caplog):
    assert choose(model, Opener(QUICK)) is SLOW
    with pytest.raises(EngineError, match="no quick fp32"):
        choose(model, Opener(QUICK, SLOW), threads=1)


def test_one_candidate_is_not_measured(model):
    opener = Opener()
    assert choose(model, opener, SLOW) is SLOW
    assert opener.engines[SLOW].calls == 0
    assert recall(model, (SLOW,), device=AUTO, threads=2, lanes=1) == {}


def test_a_failure_while_measuring_closes_all(model, monkeypatch):
    def fail(engines):
        raise EngineError("gone")

    monkeypatch.setattr(fastest, "measure", fail)
    opener = Opener()
    with pytest.raises(EngineError, match="gone"):
        choose(model, opener)
    assert all(engine.closed for engine in opener.engines.values())


def test_measuring_goes_on_for_its_time(monkeypatch):
    monkeypatch.setattr(fastest, "MEASURING_SECONDS", 0.05)
    monkeypatch.setattr(fastest, "MOST_SECONDS", 0.05)
    engines = {QUICK: FakeEngine(gate=lambda call: time.sleep(0.001)), SLOW: FakeEngine()}
    times = measure(engines)
    assert engines[QUICK].calls == engines[SLOW].calls > fastest.LEAST_ROUNDS
    assert times[QUICK] >= 0.001


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [
        ([0.02, 0.04, 0.01, 0.005, 0.005, 0.005], 5),  # until the two shortest are alike
        ([0.02, 0.01, 0.005, 0.0025, 0.001], 4),  # or the time is up
    ],
)
def test_measuring_goes_on_while_something_else_is_at_work(monkeypatch, seconds, calls):
    monkeypatch.setattr(fastest, "MOST_SECONDS", 0.037 if calls == 4 else 1.0)
    clock = [0.0, *seconds]

    def work(call):
        clock[0] += clock.pop(1)

    now = SimpleNamespace(monotonic=lambda: clock[0], perf_counter=lambda: clock[0])
    monkeypatch.setattr(fastest, "time", now)
    engine = FakeEngine(gate=work)
    assert measure({QUICK: engine})[QUICK] == pytest.approx(min(seconds[:calls]))
    assert engine.calls == calls


def test_a_cache_that_cannot_be_written_is_no_trouble(model, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert choose(model, Opener()) is QUICK
    assert choose(model, Opener()) is QUICK


def test_a_user_without_a_home_folder_measures_every_time(model, homeless):
    for _ in range(2):
        opener = Opener()
        assert choose(model, opener) is QUICK
        assert len(opener.opened) == 2
    assert recall(model, (SLOW, QUICK), device=AUTO, threads=2, lanes=1) == {}


def test_doctor_shows_what_a_run_has_measured(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(engine, "open_fastest", open_fastest)
    assert "to be measured by the first run" in doctor._default_engine()
    open_engine(device="cpu").close()
    assert "to be measured by the first run" in doctor._default_engine(), "auto may be a GPU"
    open_engine().close()
    assert doctor._default_engine().count(" ms") >= 2
