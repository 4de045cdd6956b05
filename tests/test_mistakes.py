"""Whatever a user types wrong is answered in one line that is no bug of ours and shows no password."""

from __future__ import annotations

import click
import pytest
from fakes import FakeEngine, FakeSource, write_tiny_model

from solo_rt.cli import commands
from solo_rt.pipeline import opening

SECRET = "hunter2"
WRONG = [
    "", " ", "-1", "0", "1", "nan", "inf", "1e999", "99999999999999999999", "x", "0x0", "1x", "99999x99999", "cuda:x",
    "cuda:99", "a,b", ",", "1/0", "3/2", "ü" * 300, "/", ".", "/dev/null", "/proc/self/mem", "none/at/all.mp4",
    "out.mp4", "out.jsonl", "sheet.png", "~nobody/x", f"https://user:{SECRET}@host/x", f"coco:https://user:{SECRET}@host",
    "coco:none", "[", "*", "null://", "labels:", "x.onnx", "x.pt", "x.engine", "{}", "fast-scnn",
]  # fmt: skip
OF_ENGINES = {"model", "backend", "device", "threads", "lanes"}  # options of `run` that no fake engine checks
# What a command is given beside the wrong value: it fails soon, or does next to nothing.
BASE = {
    "run": ["--source", "x", "--model", "TINY", "--threads", "1"],
    "demo-data": ["videos", "--size", "16x16", "--frames", "1"],
    "download": ["nothing"],
    "eval": ["--model", "TINY", "--data", "coco:none"],
    "train": ["--model", "solov2-nano", "--data", "coco:none"],
    "export": ["none.pt", "-o", "none.onnx"],
    "import-weights": ["none.pth", "-o", "none.pt"],
    "quantize": ["TINY", "--calib", "none", "-o", "none.onnx"],
    "build-engine": ["--model", "TINY"],
    "check-labels": ["folder:none"],
    "inspect": ["TINY"],
    "doctor": [],
    "bench-sweep": ["--source", "none.mp4", "--models", "TINY"],
    "bench-compare": ["none.json", "none.json"],
    "plan": ["--bench", "none.json", "--cameras", "1"],
    "bench": ["--source", "none.mp4", "--model", "TINY"],
}
# Not mistakes, but hours of work.
LONG = {("demo-data", "frames"), ("demo-data", "coco"), ("demo-data", "semantic"), ("demo-data", "size")}


def cases():
    for name, command in commands.commands.items():
        for parameter in command.params:
            if not (isinstance(parameter, click.Option) and parameter.is_flag) and (name, parameter.name) not in LONG:
                yield pytest.param(name, parameter, id=f"{name} {parameter.name}")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    genuine = opening.open_source
    monkeypatch.setattr(opening, "open_source", lambda uri, **o: FakeSource(1) if uri == "x" else genuine(uri, **o))
    return write_tiny_model(tmp_path / "tiny.onnx")


def mistaken(name, parameter, value, tiny):
    """Return a command line with the value in the place of the parameter."""
    base = [str(tiny) if word == "TINY" else word for word in BASE[name]]
    if isinstance(parameter, click.Argument):
        return [name, value, *base[1:]]
    return [name, *base, parameter.opts[0], value]


def test_every_command_has_a_base():
    assert set(BASE) == set(commands.commands)


@pytest.mark.parametrize(("name", "parameter"), list(cases()))
def test_no_mistake_is_called_a_bug(name, parameter, tiny, monkeypatch, solo):
    if name == "run" and parameter.name not in OF_ENGINES:
        monkeypatch.setattr(opening, "open_engine", lambda path, **_: FakeEngine())
    for value in WRONG:
        code, out, err = solo(*mistaken(name, parameter, value, tiny))
        lines = [line for line in err.splitlines() if line.startswith("solo-rt: error:")]
        case = f"{name} {parameter.name}={value!r:.40}: {code} {err[-300:]}"
        assert code in range(6), case
        assert "(a bug" not in err, case
        assert "Traceback" not in err, case
        assert SECRET not in err + out, case
        assert len(lines) == (code in (2, 3, 5)) or code in (1, 4), case


def test_where_to_read_on_is_the_command_that_was_typed(solo):
    for arguments, command in (
        (["run", "--output"], "run"),
        (["eval", "--data"], "eval"),
        (["walk"], None),
        ([], None),
    ):
        _, _, err = solo(*arguments)
        assert not arguments or f"(see solo-rt {command} --help)".replace("None ", "") in err


@pytest.mark.parametrize("arguments", [["run", "v.mp4"], ["run", "--source", "x", "v.mp4"]])
def test_a_video_without_its_option_is_told_where_it_goes(arguments, solo):
    assert "the video goes behind --source (see solo-rt run --help)" in solo(*arguments)[2]
