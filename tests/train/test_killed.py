"""A run that is killed at any moment ends, once resumed, as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from children import hear_hangups

from solo_rt.train.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent


def run_job(name: str, *arguments: object) -> None:
    """Run a function of `jobs` in a process of its own."""
    command = [sys.executable, "-m", "tests.train.jobs", name, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def assert_same_end(folder: Path) -> None:
    """The runs `whole` and `cut` of the folder have bit-identical weights and optimisers, and the same log."""
    whole, cut = (load_checkpoint(folder / run / "last.pt") for run in ("whole", "cut"))
    for a, b in (
        (whole.weights, cut.weights),
        (whole.training["weights"], cut.training["weights"]),
        *zip(*(c.training["optimiser"]["state"].values() for c in (whole, cut)), strict=True),
    ):
        assert a.keys() == b.keys()
        assert all(torch.equal(value, b[key]) for key, value in a.items())
    assert (folder / "whole" / "log.jsonl").read_text() == (folder / "cut" / "log.jsonl").read_text()


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_like_one_that_was_not(tmp_path: Path) -> None:
    run_job("killed_again_and_again", tmp_path)
    codes = (tmp_path / "codes").read_text().split()
    assert codes.count("-9") >= 8  # the last ones may find the run at its end already
    assert set(codes) <= {"-9", "0"}
    assert_same_end(tmp_path)
    assert not list((tmp_path / "cut").glob(".*.part"))


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [
        (signal.SIGINT, 130, "100000 steps on 1 x cpu"),  # before there are workers
        (signal.SIGTERM, 143, "100000 steps on 1 x cpu"),
        (signal.SIGHUP, 129, "/100000 loss"),  # in the middle
    ],
)
def test_a_signal_finishes_the_step_and_leaves_a_checkpoint(
    tmp_path: Path, number: int, code: int, moment: str
) -> None:
    command = [sys.executable, "-m", "solo_rt.train", "--phase", "32x64:100000:2", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_hangups,
    )
    with process:
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr)
        os.killpg(process.pid, number)  # the workers get it too, as they do from a terminal
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out.strip()) == (code, str(tmp_path / "run" / "last.pt"))
    assert not any(word in err for word in ("Traceback", "rror", "arning")), err
    assert load_checkpoint(tmp_path / "run" / "last.pt").step >= 1
