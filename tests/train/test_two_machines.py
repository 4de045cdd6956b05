"""A training on two machines, each an agent of torchrun with a process of its own, of which one is lost."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from children import wait_until

from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.log import read_log

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = 120


def kill(agent: psutil.Popen) -> None:
    """End an agent and all that it has started, as a power cut does."""
    if agent.is_running():
        for process in [*agent.children(recursive=True), agent]:
            process.kill()
    agent.wait()


@pytest.mark.slow
def test_a_run_goes_on_to_its_end_when_a_machine_is_lost_in_the_middle(tmp_path: Path) -> None:
    run, logs = tmp_path / "run", [tmp_path / "first.log", tmp_path / "second.log"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "x"]
    hasty = ["--rdzv-conf", "last_call_timeout=10", "--max-restarts", "3"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc-per-node", "1"]
    training = ["--phase", f"32x64:{STEPS}:2", "--workers", "0", "--save-every", "10", "--resume", "auto"]
    command += [*meeting, *hasty, "-m", "solo_rt.train", *training, "--out", str(run)]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

    def start(log: Path) -> psutil.Popen:
        with log.open("w") as said:
            agent = psutil.Popen(command, cwd=ROOT, stdout=said, stderr=said, env={**os.environ, **quiet})
        stack.callback(kill, agent)
        return agent

    with ExitStack() as stack:
        first = start(logs[0])
        wait_until(lambda: any(c.laddr.port == port and c.status == "LISTEN" for c in first.net_connections()))
        second = start(logs[1])
        wait_until((run / "last.pt").is_symlink, within=120)
        kill(second)
        assert first.wait(120) == 0, logs[0].read_text()
    said = "".join(log.read_text() for log in logs)
    assert f"{STEPS} steps on 2 x cpu" in said
    assert f"{STEPS} steps on 1 x cpu" in said
    assert "the run had 2 processes and has 1 now" in said
    assert load_checkpoint(run / "last.pt").step == STEPS
    steps = [record["step"] for record in read_log(run / "log.jsonl")]
    assert steps == sorted(set(steps))
