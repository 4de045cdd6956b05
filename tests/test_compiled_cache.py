"""What was compiled once is loaded at the next start, or compiled again where anything is different or damaged."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np
import pytest
from fakes import write_tiny_model

from solo_rt.engine import compiled_cache, open_engine
from solo_rt.engine.compiled_cache import FOLDER, KEPT, recall, remember


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FOLDER


def test_what_is_remembered_is_recalled_under_its_key():
    assert recall("a") is None
    remember("a", b"one")
    remember("b", b"")
    remember("a", b"another")
    assert (recall("a"), recall("b"), recall("c")) == (b"another", b"", None)


@pytest.mark.parametrize(
    "damage", [lambda old: old[:-1], lambda old: old[:-1] + b"!", lambda old: b"", lambda old: b"x"]
)
def test_what_is_damaged_is_not_recalled(folder, damage):
    remember("a", b"compiled")
    (folder / "a").write_bytes(damage((folder / "a").read_bytes()))
    assert recall("a") is None


def test_what_has_been_left_alone_longest_makes_room(folder):
    for number in range(KEPT):
        remember(str(number), b"compiled")
        os.utime(folder / str(number), (number, number))
    assert recall("0") is not None
    remember("new", b"compiled")
    assert {path.name for path in folder.iterdir()} == {"new", *map(str, range(KEPT))} - {"1"}


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    remember("a", b"compiled")
    assert recall("a") is None


def test_a_user_without_a_home_folder_does_without(homeless):
    remember("a", b"compiled")
    assert recall("a") is None


def test_what_is_in_a_folder_that_can_only_be_read_is_recalled(monkeypatch):
    remember("a", b"compiled")

    def refuse(path):
        raise PermissionError(f"read-only file system: {path}")

    monkeypatch.setattr(compiled_cache.os, "utime", refuse)
    assert recall("a") == b"compiled"


class Compiled:
    """Counts what OpenVINO compiles."""

    def __init__(self, monkeypatch):
        module = pytest.importorskip("solo_rt.engine.openvino")
        self.count = 0

        class Core(module.ov.Core):
            def compile_model(core, *arguments):
                self.count += 1
                return super().compile_model(*arguments)

        monkeypatch.setattr(module.ov, "Core", Core)

    def outputs(self, model, **settings):
        settings = {"backend": "openvino", "threads": 1, "precision": "fp32", **settings}
        with closing(open_engine(model, **settings)) as engine:
            size = engine.spec.input
            picture = np.random.default_rng(0).normal(size=(1, 3, size.height, size.width)).astype(np.float32)
            return engine.infer({size.name: picture})


def test_a_model_is_compiled_once_and_computes_the_same(tmp_path, monkeypatch):
    compiled, model = Compiled(monkeypatch), write_tiny_model(tmp_path / "tiny.onnx")
    first, again = (compiled.outputs(model) for _ in range(2))
    assert compiled.count == 1
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_model_is_compiled_again_when_something_has_changed(tmp_path, monkeypatch, folder):
    compiled, model = Compiled(monkeypatch), write_tiny_model(tmp_path / "tiny.onnx")
    compiled.outputs(model)
    compiled.outputs(model, threads=2)
    compiled.outputs(model, threads=2, lanes=2)
    compiled.outputs(write_tiny_model(tmp_path / "tiny.onnx", outputs={"scores": "scores"}))
    assert compiled.count == 3
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    compiled.outputs(model)
    assert compiled.count == 4


def test_a_model_that_openvino_cannot_load_is_compiled_again(tmp_path, monkeypatch, folder):
    compiled, model = Compiled(monkeypatch), write_tiny_model(tmp_path / "tiny.onnx")
    expected = compiled.outputs(model)
    (kept,) = folder.iterdir()
    remember(kept.name, b"of another version")
    assert np.array_equal(compiled.outputs(model)["scores"], expected["scores"])
    assert compiled.count == 2
    assert compiled_cache.recall(kept.name) != b"of another version"
