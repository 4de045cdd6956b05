from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from children import WAIT, start
from fakes import FakeSource

import solo_rt
from solo_rt.cli import commands
from solo_rt.doctor import OPTIONAL
from solo_rt.errors import SinkError, SourceError
from solo_rt.pipeline import opening


@pytest.fixture
def source(monkeypatch):
    """Make every address lead to a fake source of ten frames; its attributes may be changed before the run."""
    fake = FakeSource(10)
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: fake)
    return fake


@pytest.fixture
def solo(solo):
    """Return the function that runs the command line; nobody gets to see a traceback unasked."""

    def run(*arguments):
        code, out, err = solo(*arguments)
        assert "Traceback" not in err or "-v" in arguments
        return code, out, err

    return run


def complaint(err):
    """Return the one line that says what is wrong."""
    lines = [line for line in err.splitlines() if line.startswith("solo-rt: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("solo-rt: error: ")


def test_run_writes_its_output_and_prints_times_per_stage(solo, source, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    code, out, err = solo("run", "--source", "x", "--model", tiny, "--save-jsonl", output)
    assert code == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["frame"] for record in records if "frame" in record] == list(range(10))
    lines = out.splitlines()
    assert lines[0].startswith("10 frames in ")
    assert lines[1].split() == ["stage,", "ms", "mean", "p50", "p95", "p99", "max", "busy"]
    assert [line.split()[0] for line in lines[2:-1]] == ["read", "prepare", "infer", "decode", "sink", "latency"]
    assert lines[-1] == str(output)
    assert err.splitlines() == ["fake: 80x48, 30 fps", "tiny on onnxruntime cpu, 2 threads"] or "tiny on" in err


@pytest.mark.parametrize(
    ("arguments", "lanes"), [([], 1), (["--sync"], 1), (["--sync", "--lanes", 1], 1), (["--lanes", 2], 2)]
)
def test_lanes_are_those_asked_for(solo, source, tiny, arguments, lanes):
    settings = ["--backend", "onnxruntime", "--threads", 2, "--max-frames", 2]
    code, _, err = solo("run", "--source", "x", "--model", tiny, *settings, *arguments)
    assert code == 0
    assert f"onnxruntime cpu, 2 threads{', 2 lanes' if lanes == 2 else ''}\n" in err


def test_run_without_output_only_measures(solo, source, tiny):
    code, out, _ = solo("run", "--source", "x", "--model", tiny, "--sync", "--max-frames", 3)
    assert code == 0
    assert out.startswith("3 frames in ")


def test_json_is_one_object_on_stdout(solo, source, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    code, out, _ = solo("run", "--source", "x", "--model", tiny, "--output", output, "--json", "--max-fps", 10)
    report = json.loads(out)
    assert code == 0
    assert report["frames"] == {"read": 10, "processed": 4, "dropped": 0, "skipped": 6, "failed": 0}
    assert report["outputs"] == [str(output)]
    assert report["stages"]["infer"]["max_ms"] >= report["stages"]["infer"]["p99_ms"] > 0
    assert (report["damage"], report["interrupted"]) == (None, False)


def test_quiet_shows_nothing(solo, source, tiny):
    assert solo("run", "--source", "x", "--model", tiny, "--quiet") == (0, "", "")


def test_lines_of_a_log_hold_no_control_characters(solo, source, tiny):
    _, out, err = solo("run", "--source", "x", "--model", tiny)
    assert "\x1b" not in out + err
    assert all(line == line.rstrip() for line in out.splitlines())


def test_damaged_source_is_a_warning_and_exit_code_4(solo, source, tiny):
    source.damage = "2 packets could not be decoded"
    code, out, err = solo("run", "--source", "x", "--model", tiny)
    assert code == 4
    assert out.startswith("10 frames in ")
    assert "solo-rt: warning: not all of the source arrived: 2 packets could not be decoded" in err


def test_missing_source_is_exit_code_3_and_writes_nothing(solo, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    code, out, err = solo("run", "--source", tmp_path / "no.mp4", "--model", tiny, "--output", output)
    assert (code, out) == (3, "")
    assert "no.mp4" in complaint(err)
    assert not output.exists()


def test_source_without_frames_is_exit_code_3(solo, monkeypatch, tiny):
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(0))
    code, _, err = solo("run", "--source", "x", "--model", tiny)
    assert code == 3
    assert complaint(err) == "fake: expected frames, got none (it is empty)"


@pytest.mark.parametrize("method", ["write", "close"])
def test_failing_output_is_exit_code_4_and_the_others_are_finished(solo, source, tiny, tmp_path, monkeypatch, method):
    genuine = opening.open_sink
    closed = []

    def open_sink(uri, **arguments):
        sink = genuine(uri, **arguments)
        close = sink.close

        def fail(*_):
            close()
            raise SinkError(f"{uri}: the disk is full")

        def note():
            closed.append(Path(uri).name)
            close()

        monkeypatch.setattr(sink, "close", note)
        if Path(uri).name == "bad.jsonl":
            monkeypatch.setattr(sink, method, fail)
        return sink

    monkeypatch.setattr(opening, "open_sink", open_sink)
    outputs = [a for name in ("first", "bad", "last") for a in ("--output", tmp_path / f"{name}.jsonl")]
    code, _, err = solo("run", "--source", "x", "--model", tiny, *outputs)
    assert code == 4
    assert "the disk is full" in complaint(err)
    assert {"first.jsonl", "last.jsonl"} <= set(closed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--conf", 2], "conf must be in 0..1, got 2.0"),
        (["--conf", "high"], "Invalid value for '--conf': 'high' is not a valid float"),
        (["--max-frames", 0], "max_frames must be at least 1, got 0"),
        (["--classes", "red,dog"], "unknown class dog; the model knows red, green, blue"),
        (["--backend", "tf"], "unknown backend 'tf'"),
        (["--device", "tpu", "--backend", "onnxruntime"], "unknown device 'tpu'"),
        (["--threads", 0], "threads must be at least 1, and at most 1024, got 0"),
        (["--lanes", 0], "lanes must be at least 1, and at most 1024, got 0"),
        (["--lanes", 2, "--sync"], "expected 1 lane with sync, which computes one frame at a time, got 2"),
        (["--save-jsonl", "out.txt"], "--save-jsonl out.txt: expected a file that ends in .jsonl"),
        (["--save-images", ""], "--save-images: expected a folder, got an empty name"),
        (["--save-labels", ""], "--save-labels: expected a folder, got an empty name"),
        (["--sorce", "x"], "No such option '--sorce'. (Did you mean"),
        (["stray"], "Got unexpected extra argument (stray)"),
    ],
)
def test_usage_errors_are_exit_code_2_and_one_line(solo, source, tiny, arguments, message):
    code, out, err = solo("run", "--source", "x", "--model", tiny, *arguments)
    assert (code, out) == (2, "")
    assert message in complaint(err)


def test_source_is_required_and_commands_are_known(solo):
    code, _, err = solo("run")
    assert (code, "Missing option '--source'" in complaint(err)) == (2, True)
    code, _, err = solo("walk")
    assert (code, "No such command 'walk'" in complaint(err)) == (2, True)


def test_no_command_shows_the_help(solo):
    code, out, err = solo()
    assert (code, err) == (0, "")
    for name in ("run", "inspect", "doctor", "train", "export", "eval", "demo-data"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("command", commands.commands.values(), ids=str)
def test_every_option_is_explained(command):
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


@pytest.mark.parametrize(("command", "time"), [("train", "an hour"), ("eval", "hours"), ("build-engine", "minutes")])
def test_the_help_of_what_takes_long_says_how_long(solo, command, time):
    code, out, _ = solo(command, "--help")
    assert (code, time in " ".join(out.split("Options:")[0].split())) == (0, True)


@pytest.mark.parametrize("arguments", [["--classes", "dog"], ["--output", "no/such/folder.jsonl"], ["--conf", 2]])
def test_outputs_of_earlier_runs_survive_arguments_that_cannot_work(solo, source, tiny, tmp_path, arguments):
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    arguments = [*arguments, "--output", output]  # what fails comes first
    code, _, err = solo("run", "--source", "x", "--model", tiny, *arguments)
    assert code == 2
    assert err == f"solo-rt: error: {complaint(err)}\n"
    assert output.read_text() == "precious\n"


def test_two_outputs_that_are_the_same_file_are_refused(solo, source, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for second in ["out.jsonl", tmp_path / "out.jsonl", "./x/../out.jsonl"]:
        code, _, err = solo("run", "--source", "x", "--model", tiny, "--output", "out.jsonl", "--save-jsonl", second)
        assert code == 2
        assert f"two outputs are the same: out.jsonl and {second}; give each its own path" == complaint(err)
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_the_source_is_refused_and_left_alone(solo, tiny, tmp_path):
    video = tmp_path / "in.mp4"
    video.write_bytes(b"video")
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "hard.mp4").hardlink_to(video)
    for name in ["in.mp4", "link.mp4", "hard.mp4"]:
        code, _, err = solo("run", "--source", video, "--model", tiny, "--output", tmp_path / name)
        assert code == 2
        assert complaint(err) == f"output {tmp_path / name} would overwrite the source; choose another file"
    assert video.read_bytes() == b"video"


def test_output_that_is_the_model_is_refused(solo, tiny):
    code, _, err = solo("run", "--source", "x", "--model", tiny, "--output", tiny)
    assert (code, "would overwrite" in complaint(err)) == (2, True)


def test_folder_of_the_source_pictures_is_refused_as_output(solo, tiny, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    for source in [tmp_path, tmp_path / "*.png", tmp_path / "a.png"]:
        code, _, err = solo("run", "--source", source, "--model", tiny, "--save-images", tmp_path)
        assert (code, "would overwrite" in complaint(err)) == (2, True)
    assert (tmp_path / "a.png").read_bytes() == b"picture"


def test_output_that_cannot_be_written_is_exit_code_2(solo, source, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = solo("run", "--source", "x", "--model", tiny, "--output", tmp_path / "file" / "out.jsonl")
    assert code in (2, 4)
    assert str(tmp_path / "file") in complaint(err)


@pytest.mark.parametrize(
    ("output", "message"), [("folder.onnx", "it is a folder"), ("nowhere/x.onnx", "there is no folder")]
)
def test_results_that_cannot_be_written_are_refused_before_the_work(solo, tiny, tmp_path, output, message):
    (tmp_path / "folder.onnx").mkdir()
    code, out, err = solo("quantize", tiny, "--calib", "none", "-o", str(tmp_path / output))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert f"cannot write {tmp_path / output}: {message}" in err


def test_unexpected_exception_is_one_line_and_verbose_shows_where(solo, tiny, monkeypatch):
    def explode(uri, **_):
        raise ZeroDivisionError("division by\nzero at rtsp://user:secret@camera/1")

    monkeypatch.setattr(opening, "open_source", explode)
    code, _, err = solo("run", "--source", "x", "--model", tiny)
    assert code == 1
    assert complaint(err) == (
        "ZeroDivisionError: division by zero at rtsp://***@camera/1 (a bug; run again with -v to see where)"
    )
    code, _, err = solo("run", "--source", "x", "--model", tiny, "-v")
    assert code == 1
    assert "in explode" in err
    assert "secret" not in err


def test_failing_stage_is_named(solo, source, tiny, monkeypatch):
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(5, error=SourceError("gone"), fail_at=2))
    code, _, err = solo("run", "--source", "x", "--model", tiny)
    assert (code, complaint(err)) == (3, "gone (in the read stage)")


def test_inspect_shows_the_model(solo, tiny):
    code, out, err = solo("inspect", tiny)
    assert (code, err) == (0, "")
    for text in ["tiny", "210 parameters", "image float32 [1, 3, 32, 64]", "scores float32 [1, 25, 3]", "AP 0.250"]:
        assert text in out
    code, out, _ = solo("inspect", tiny, "--json")
    card = json.loads(out)
    assert card["outputs"]["kernels"] == {"type": "float32", "shape": [1, 25, 4]}
    assert card["provenance"]["recipe"] == "by hand"


def test_inspect_of_no_model_is_exit_code_2(solo, tmp_path):
    code, out, err = solo("inspect", tmp_path / "no.onnx")
    assert (code, out) == (2, "")
    assert "no such model file" in complaint(err)


def test_doctor_tells_what_is_there(solo):
    code, out, _ = solo("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(out)}
    assert findings["solo-rt"]["detail"] == solo_rt.__version__
    assert "CPUExecutionProvider" in findings["onnxruntime providers"]["detail"]
    assert findings["h264 encoder"]["found"]
    assert findings["cv2"]["detail"].startswith("opencv")  # under whichever of its four names it was installed
    assert "plain" in findings["kernels"]["detail"]
    assert {"CUDA kernels", "TensorRT plugins"} <= findings.keys()
    assert code == (0 if all(f["found"] for f in findings.values() if f["required"]) else 1)
    assert solo("doctor")[0] == code


def test_doctor_looks_for_what_every_extra_brings():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = (\[.*\])$", section, re.MULTILINE)
    packages = {re.match(r"\w+", package)[0] for _, listed in extras for package in json.loads(listed)}
    assert {"torch", "ray", "redis"} <= packages
    assert packages <= set(OPTIONAL)


def test_doctor_looks_for_the_tensorrt_that_would_be_used(solo, monkeypatch):
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # as an empty folder of that name is
    (finding,) = [f for f in json.loads(solo("doctor", "--json")[1]) if f["subject"] == "tensorrt"]
    assert finding["detail"].startswith("TensorRT is not installed; pip install tensorrt-cu12 or")
    vars(sys.modules["tensorrt_bindings"]).update(__version__="10.3.0", Builder=None, IPluginV3=None)
    (finding,) = [f for f in json.loads(solo("doctor", "--json")[1]) if f["subject"] == "tensorrt"]
    assert (finding["found"], finding["detail"]) == (True, "10.3.0")


@pytest.mark.parametrize("subject", ["CUDA kernels", "TensorRT plugins"])
def test_doctor_finds_no_library_that_cannot_be_loaded(solo, monkeypatch, tmp_path, subject):
    library = tmp_path / "lib.so"
    library.write_text("cut off")
    for variable in ("SOLO_RT_KERNELS", "SOLO_RT_PLUGINS"):
        monkeypatch.setenv(variable, str(library))
    (finding,) = [f for f in json.loads(solo("doctor", "--json")[1]) if f["subject"] == subject]
    assert (finding["found"], "lib.so: it cannot be loaded" in finding["detail"]) == (False, True)


def test_doctor_survives_what_is_broken(solo, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, _ = solo("doctor", "--json")
    (broken,) = [f for f in json.loads(out) if f["subject"] == "onnxruntime"]
    assert (code, broken["found"]) == (1, False)


def test_version_is_that_of_the_package(solo):
    assert solo("--version") == (0, f"solo-rt {solo_rt.__version__}\n", "")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_any_name_is_printed_on_any_terminal(tiny, tmp_path, encoding):
    """As of a file that was unpacked from another system; the help has a letter that is not in Latin-1."""
    model = shutil.copy(tiny, tmp_path / "caf\udce9.onnx")
    settings = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    for arguments, said in ((["inspect", model], b"caf\\udce9.onnx"), (["run", "--help"], b"rtsp://")):
        command = [sys.executable, "-m", "solo_rt", *arguments]
        done = subprocess.run(command, capture_output=True, env=settings, timeout=120, check=False)
        assert (done.returncode, said in done.stdout) == (0, True), done.stderr


def test_verbose_logs_the_choice_of_the_engine(tiny):
    _, err = start(tiny, "FakeSource(1)", "-v").communicate(timeout=WAIT)
    assert "solo-rt: info: model tiny on " in err


def test_a_run_leaves_the_converter_of_openvino_out(tiny):
    pytest.importorskip("openvino")
    run = ["run", "--source", "test://?size=64x48&frames=1", "--model", str(tiny), "--backend", "openvino", "--quiet"]
    command = [sys.executable, "-X", "importtime", "-m", "solo_rt", *run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "openvino._pyopenvino" in done.stderr
    assert "openvino.tools.ovc.convert" not in done.stderr
