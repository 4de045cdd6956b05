"""Cameras that one owner runs, as an actor of a cluster does, but in this process."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from children import wait_until
from clips import write_clip
from fakes import write_tiny_model

from solo_rt import Options, Pipeline, __version__
from solo_rt.cluster import camera as cameras
from solo_rt.cluster.camera import Camera
from solo_rt.cluster.camera_owner import CameraOwner
from solo_rt.cluster.worker import Start
from solo_rt.errors import EngineError, UsageError
from solo_rt.files import file_sha256

ENDLESS = "test://?live=1&size=64x48&fps=30&frames=100000"


@pytest.fixture(autouse=True)
def _back_again(monkeypatch):
    monkeypatch.chdir(Path.cwd())  # an owner goes to the folder of whoever hires it


@pytest.fixture
def owner(tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.onnx")
    start = pickle.dumps(Start(Pipeline(model=model, backend="onnxruntime", threads=1), 0))
    one = CameraOwner(__version__, file_sha256(model), str(Path.cwd()), [], start)
    yield one
    one.finish()


def test_cameras_run_side_by_side_until_they_are_somebody_else_s(owner, tmp_path: Path) -> None:
    assert isinstance(owner.begin(), str)
    door, yard = (Camera(name, ENDLESS) for name in ("door", "yard"))
    outputs = [str(tmp_path / "{source}.jsonl")]
    owner.own([door, yard], outputs)
    wait_until(lambda: all(one.offered for one in owner.report().values()))
    figures = owner.report()["door"]
    assert figures.state == "live"
    assert 0 < figures.cost < 30
    assert json.loads(owner.newest("door"))["size"] == [48, 64]
    assert owner.newest("gate") == "", "it is somebody else's"
    owner.own([yard], outputs)
    assert owner.report().keys() == {"yard"}
    wait_until(lambda: '"end"' in (tmp_path / "door.jsonl").read_text())
    assert owner.finish()["yard"].is_over
    assert "end" in json.loads((tmp_path / "yard.jsonl").read_text().splitlines()[-1])


def test_a_camera_that_fails_is_tried_again_and_costs_the_others_nothing(owner, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cameras, "AGAIN_SECONDS", 0.05)
    owner.begin()
    late = tmp_path / "late.jsonl"
    owner.own([Camera("gone", str(tmp_path / "x.mp4")), Camera("late", ENDLESS)], [str(tmp_path / "{source}.jsonl")])
    wait_until(lambda: owner.report()["gone"].state == "failed" and owner.report()["late"].processed > 3)
    assert "x.mp4" in owner.report()["gone"].reason
    gone = owner.report()["gone"]
    assert {gone.read, gone.processed, gone.dropped, gone.skipped, gone.failed, gone.fps, gone.cost} == {0}
    assert gone.latency == (0.0, 0.0)
    assert late.exists()


def test_an_engine_that_is_of_no_use_to_any_camera_is_told_and_one_that_fails_for_some_is_not(owner, tmp_path) -> None:
    owner.begin()
    compute = owner._pipeline.model.infer

    def fail(inputs):
        raise EngineError("the card is lost")

    owner.own([Camera("door", ENDLESS), Camera("gone", str(tmp_path / "x.mp4"))], [])
    wait_until(lambda: owner.report()["door"].processed > 3)
    owner._pipeline.model.infer = fail
    wait_until(lambda: owner.report()["door"].state == "failed")
    assert owner.report()["gone"].state == "failed", "which is no fault of the engine"
    owner.own([Camera("door", ENDLESS)], [])
    assert isinstance(owner.report(), EngineError)
    assert "the card is lost" in str(owner.report())
    owner._pipeline.model.infer = compute


def test_frames_that_are_left_out_cost_nothing(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    pipeline = Pipeline(model=model, options=Options(max_fps=2.0), backend="onnxruntime", threads=1)
    owner = CameraOwner(__version__, file_sha256(model), str(Path.cwd()), [], pickle.dumps(Start(pipeline, 0)))
    owner.begin()
    owner.own([Camera("door", ENDLESS)], [])
    wait_until(lambda: owner.report()["door"].offered > 0)
    door = owner.finish()["door"]
    assert door.skipped > door.processed
    assert door.offered <= 5.0, "of 30"


def test_a_film_ends_and_says_what_of_it_was_missing(owner, tmp_path: Path) -> None:
    owner.begin()
    for name, missing in (("whole", 0), ("cut", 500)):
        write_clip(tmp_path / f"{name}.mkv", count=20)
        content = (tmp_path / f"{name}.mkv").read_bytes()
        (tmp_path / f"{name}.mkv").write_bytes(content[: len(content) - missing])
    owner.own([Camera(name, str(tmp_path / f"{name}.mkv")) for name in ("whole", "cut")], [])
    wait_until(lambda: all(one.is_over for one in owner.report().values()))
    assert owner.report()["whole"].reason == ""
    assert owner.report()["cut"].reason != ""


def test_another_version_or_another_model_refuses_in_one_line(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny.onnx")
    start = pickle.dumps(Start(Pipeline(model=tmp_path / "tiny.onnx"), 0))
    for version, sha256, expected in (("0.0.1", "", "expected solo-rt 0.0.1"), (__version__, "x", "model of the run")):
        said = CameraOwner(version, sha256, str(tmp_path), [], start).begin()
        assert isinstance(said, UsageError)
        assert expected in str(said)
