"""The command line in a process of its own, with a fake source and perhaps engine, given as Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

WAIT = 30.0  # seconds; only a failing test takes that long

PROGRAM = """
import sys, threading, time
sys.path.insert(0, {tests!r})
import fakes
from fakes import FakeSource
from solo_rt.pipeline import opening
from solo_rt.__main__ import main
genuine = opening.open_engine
opening.open_source = lambda uri, **_: {source}
opening.open_engine = lambda *a, **k: {engine}
main()
"""


def command(tiny, source, *arguments, engine="genuine(*a, **k)"):
    """Return the arguments of a process that runs the model at `tiny` on a source, given as Python, like an engine."""
    program = PROGRAM.format(tests=str(Path(__file__).parent), source=source, engine=engine)
    return [sys.executable, "-c", program, "run", "--source", "x", "--model", str(tiny), *map(str, arguments)]


def start(*arguments, **settings):
    """Start a `command`; its streams are pipes."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*arguments, **settings), **streams, text=True, preexec_fn=hear_hangups)


def hear_hangups():
    """Let a process that begins hear SIGHUP, also where the tests themselves run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_until(condition, *, within=WAIT):
    """Return once the condition holds. Raises: AssertionError after a while."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
