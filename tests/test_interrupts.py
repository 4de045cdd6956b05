"""Signals: the first ends a run in good order, within three seconds, wherever it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from children import WAIT, hear_hangups, start, wait_until


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_finishes_the_outputs(number, code, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    process = start(tiny, "FakeSource(10**6, gate=lambda i: time.sleep(0.005))", "--output", output)
    wait_until(lambda: output.exists() and output.stat().st_size > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == code
    assert "finishing the outputs" in err
    assert "Traceback" not in err
    text = output.read_text()
    frames = [record["frame"] for record in map(json.loads, text.splitlines()) if "frame" in record]
    assert text.endswith("\n")
    assert frames == list(range(len(frames)))
    assert out.startswith(f"{len(frames)} frame")


def test_signal_while_the_source_opens_ends_at_once(tiny, tmp_path):
    marker, output = tmp_path / "opening", tmp_path / "out.jsonl"
    process = start(tiny, f"(open({str(marker)!r}, 'w').close(), time.sleep(60))", "--output", output)
    wait_until(marker.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (130, "")
    assert err == "solo-rt: interrupted before anything was written\n"
    assert not output.exists()


def test_second_signal_ends_at_once(tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    marker = tmp_path / "blocked"
    blocking = f"(open({str(marker)!r}, 'w').close(), time.sleep(60)) if i == 5 else None"
    process = start(tiny, f"FakeSource(10**6, live=True, gate=lambda i: {blocking})", "--output", output)
    wait_until(marker.exists)
    process.send_signal(signal.SIGINT)
    while "finishing the outputs" not in process.stderr.readline():  # the first is being obeyed
        assert process.poll() is None
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT)
    assert process.returncode == 143
    assert time.monotonic() - started < 2


def test_a_model_that_never_ends_is_given_up_and_the_outputs_are_finished(tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    hang = "fakes.FakeEngine(gate=lambda call: time.sleep(600) if call == 3 else None)"
    process = start(tiny, "FakeSource(100)", "--output", output, engine=hang)
    wait_until(lambda: output.exists() and output.read_bytes().count(b"\n") == 4)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 143
    assert time.monotonic() - started < 3 + 1  # the machine may be busy
    assert "given up: the infer stage does not finish its frame" in err
    assert [json.loads(line).get("frame") for line in output.read_text().splitlines()] == [None, 0, 1, 2, None]


def test_an_output_that_nobody_takes_is_given_up_by_name(tiny, tmp_path):
    pipe, output = tmp_path / "pipe.jsonl", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = start(tiny, "FakeSource(10**6)", "--output", output, "--output", pipe)
    wait_until(lambda: output.exists() and output.stat().st_size > 0)
    size = -1
    while size != (size := output.stat().st_size):  # until the pipe is full
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT)
    os.close(reader)
    assert process.returncode == 130
    assert f"given up: output {pipe}: it does not take its results" in err
    assert output.read_text().endswith("\n")


def test_signals_count_while_the_command_line_loads(tmp_path):
    """Whatever is being imported, and as the first process of a container, whose signals nobody else handles."""
    slow = "import sys, time; sys.stdout.write('x'); sys.stdout.flush(); time.sleep(60)"
    (tmp_path / "click.py").write_text(slow)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from solo_rt.__main__ import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=hear_hangups,
        )
        process.stdout.read(1)
        process.send_signal(number)
        _, err = process.communicate(timeout=WAIT)
        assert (process.returncode, err) == (128 + number, b"")
