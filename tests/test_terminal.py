"""Standard streams: whatever becomes of them, a run goes on, and its outputs are complete."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from children import WAIT, command, start

from solo_rt.commands.terminal import DRAIN_SECONDS, Patient, say


def run_to_the_end(tiny, *arguments, **streams):
    """Run the command line on ten frames with these streams; return its exit code and how many records it wrote."""
    output = streams.pop("output")
    done = subprocess.run(command(tiny, "FakeSource(10)", "--output", output, *arguments), timeout=WAIT, **streams)
    return done.returncode, sum('"frame":' in line for line in output.read_text().splitlines())


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_who_left_stops_nothing(tiny, tmp_path, stream):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        assert run_to_the_end(tiny, output=tmp_path / "a.jsonl", **{stream: write_end}) == (0, 10)
    finally:
        os.close(write_end)


@pytest.mark.parametrize(("stream", "code"), [("stdout", 4), ("stderr", 0)])
def test_a_full_disk_behind_a_stream_stops_nothing(tiny, tmp_path, stream, code):
    with open("/dev/full", "w") as full:
        assert run_to_the_end(tiny, output=tmp_path / "a.jsonl", **{stream: full}) == (code, 10)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_stops_nothing_and_gets_no_file_in_its_place(tiny, tmp_path, number):
    code, records = run_to_the_end(
        tiny, output=tmp_path / "a.jsonl", preexec_fn=lambda: os.close(number), stderr=subprocess.DEVNULL
    )
    assert (code, records) == (0, 10)


@pytest.fixture
def full_pipe():
    """Give the end to write to of a pipe that takes nothing more, as nobody reads it."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    yield write_end
    os.close(read_end)
    os.close(write_end)


def test_a_full_pipe_that_nobody_reads_stops_nothing(tiny, tmp_path, full_pipe):
    assert run_to_the_end(tiny, "-v", output=tmp_path / "a.jsonl", stderr=full_pipe) == (0, 10)


def test_last_words_are_waited_for_but_not_for_long(full_pipe):
    patient = Patient(os.fdopen(full_pipe, "w", closefd=False))
    patient.write("words")
    started = time.monotonic()
    patient.drain()
    assert DRAIN_SECONDS <= time.monotonic() - started < WAIT


def test_what_is_drained_is_written(tmp_path):
    with open(tmp_path / "a", "w") as file:
        patient = Patient(file)
        for i in range(100):
            patient.write(f"{i}\n")
        patient.drain()
        assert (tmp_path / "a").read_text().split() == [str(i) for i in range(100)]


def test_a_word_past_everything_is_said_at_once_or_not_at_all(full_pipe, capfd):
    say("wörd")
    assert capfd.readouterr().err == "wörd\n"
    before = os.dup(2)
    os.dup2(full_pipe, 2)
    try:
        started = time.monotonic()
        say("word")
        assert time.monotonic() - started < 0.5
    finally:
        os.dup2(before, 2)
        os.close(before)


def test_reader_of_stdout_may_leave(tiny):
    process = start(tiny, "FakeSource(10, gate=lambda i: time.sleep(0.05))", "--json")
    process.stdout.close()
    process.wait(WAIT)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.returncode == 1


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo terminal")
@pytest.mark.parametrize("no_color", [False, True])
def test_terminal_gets_a_progress_line_and_no_color_is_honoured(tiny, no_color):
    leader, follower = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **({"NO_COLOR": "1"} if no_color else {})}
    environment = {key: value for key, value in environment.items() if no_color or key != "NO_COLOR"}
    process = subprocess.Popen(
        command(tiny, "FakeSource(60, gate=lambda i: time.sleep(0.01))"),
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=environment,
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:
        pass  # Linux says so when the last process has left the terminal
    finally:
        os.close(leader)
    assert process.wait(WAIT) == 0
    assert b"/60 frames" in shown
    assert b" fps" in shown
    assert (b"\x1b[3" in shown or b"\x1b[9" in shown) is not no_color
    assert shown.rstrip().endswith(b"\x1b[2K") or b"\x1b[?25h" in shown
