"""What is said on standard error: text as it ever was, or objects."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest
from children import WAIT, start
from fakes import FakeSource

from solo_rt.commands import progress
from solo_rt.commands.lines import LineFormatter, choose_format, line
from solo_rt.pipeline import opening, report

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _text_again():
    yield
    choose_format("text")


def objects(err):
    """Return the objects of all lines."""
    found = [json.loads(text) for text in err.splitlines()]
    for each in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each["time"])
        assert each["level"] in ("debug", "info", "warning", "error")
        assert each["logger"].startswith("solo_rt")
        assert each["message"] == each["message"].strip()
    return found


def test_every_line_of_a_run_is_an_object(tiny):
    source = "FakeSource(2, damage='it hangs together badly')"
    process = start(tiny, source, "-v", "--log-format", "json", "--json")
    out, err = process.communicate(timeout=WAIT)
    said = {each["message"]: each for each in objects(err)}
    assert json.loads(out)["frames"]["processed"] == 2
    assert said["fake: 80x48, 30 fps"]["level"] == "info"
    assert said["not all of the source arrived: it hangs together badly"]["level"] == "warning"
    (logged,) = [each for each in said.values() if each["logger"] == "solo_rt.engine"]
    assert logged["message"].startswith("model tiny on ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "--sorce", "x"), 2, "No such option"),
        (("run",), 2, "Missing option"),
        (("run", "--conf", "high"), 2, "not a valid float"),
        (("run", "--source", "none.mp4"), 3, "No such file or directory"),
        (("inspect", "none.onnx"), 2, "no such model file"),
        (("run", "--config", "none.toml"), 2, "cannot read the configuration file"),
    ],
)
def test_what_goes_wrong_is_an_object_with_the_exit_code(solo, arguments, code, message):
    left, out, err = solo(*arguments, "--log-format", "json")
    (complaint,) = objects(err)
    assert (left, out, complaint["exit_code"], complaint["level"]) == (code, "", code, "error")
    assert message in complaint["message"]
    assert solo(*arguments)[2].startswith("solo-rt: error: "), "only this run"


def test_the_format_may_stand_in_the_file_or_in_the_environment(solo, tmp_path, monkeypatch):
    path = tmp_path / "solo.toml"
    path.write_text('[inspect]\nlog-format = "json"\n')
    assert objects(solo("inspect", "none.onnx", "--config", path)[2])
    assert solo("inspect", "none.onnx", "--config", path, "--log-format", "text")[2].startswith("solo-rt: error: ")
    monkeypatch.setenv("SOLO_RT_RUN_LOG_FORMAT", "json")
    assert objects(solo("run", "--config", tmp_path / "none.toml")[2])


def test_a_traceback_is_a_field_and_no_secret_is_in_it(solo, tiny, monkeypatch):
    def explode(uri, **_):
        raise ZeroDivisionError(f"at rtsp://user:{SECRET}@camera/1")

    monkeypatch.setattr(opening, "open_source", explode)
    _, _, err = solo("run", "--source", "x", "--model", tiny, "-v", "--log-format", "json")
    complaint = objects(err)[-1]
    assert complaint["exit_code"] == 1
    assert "in explode" in complaint["exception"]
    assert "rtsp://***@camera/1" in complaint["message"]
    assert SECRET not in err


@pytest.mark.parametrize("name", ["text", "json"])
def test_no_password_is_logged(name):
    choose_format(name)
    formatter = LineFormatter("%(message)s")
    formatter.as_json = name == "json"
    address = f"rtsp://me:{SECRET}@camera/1"
    try:
        raise ValueError(address)
    except ValueError:
        record = logging.LogRecord("solo_rt", logging.ERROR, "", 0, "lost %s", (address,), sys.exc_info())
    for text in (formatter.format(record), line(address, exception=address, fields={"source": address})):
        assert SECRET not in text
        assert "rtsp://***@camera/1" in text


def test_progress_is_objects_with_figures(solo, tiny, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(report, "PERCENTILE_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(3))
    _, _, err = solo("run", "--source", "x", "--model", tiny, "--log-format", "json", "--sync")
    shown = [each for each in objects(err) if "frames" in each]
    assert [each["frames"] for each in shown] == [1, 2, 3]
    assert shown[-1]["message"].startswith("3/3 frames, ")
    assert shown[-1]["dropped"] == 0
    assert shown[-1]["fps"] > 0
    assert 0 < shown[-1]["latency"]["p50_ms"] <= shown[-1]["latency"]["p95_ms"]
    assert list(shown[-1]["stages"]) == ["read", "prepare", "infer", "decode", "sink"]


@pytest.mark.parametrize("live", [False, True])
def test_lines_of_a_live_source_have_its_latency(solo, tiny, monkeypatch, live):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(2, live=live))
    _, _, err = solo("run", "--source", "x", "--model", tiny, "--sync")
    last = err.splitlines()[-1]
    assert re.fullmatch(rf"2/?2? frames, .* fps, \d+ instances{r', latency [0-9]+/[0-9]+ ms' if live else ''}", last)
