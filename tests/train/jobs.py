"""Runs that are killed, and runs of several processes; `python -m tests.train.jobs NAME FOLDER` starts one.

Each process is a fork of one that has imported everything and computed nothing, so that it begins at once and has no
threads to lose. Results are left in the folder for the tests to look at.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from solo_rt.device import Device
from solo_rt.errors import SoloRTError
from solo_rt.train import checkpoint
from solo_rt.train.data.batches import fetch, load_parts
from solo_rt.train.distributed import join_job
from solo_rt.train.loop import Progress, train
from solo_rt.train.models import build_model
from solo_rt.train.recipe import Phase, Recipe
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState
from solo_rt.train.task import make_task

ONE_STEP = Recipe("solov2-nano", (Phase((64, 96), 4, steps=1),), "sgd", 1.0, None, 0.0, "all", "constant")
SHORT = replace(ONE_STEP, phases=(Phase((32, 64), 2, steps=3), Phase((64, 96), 2, steps=3)), lr=0.01, ema=0.9)
SETTINGS = Settings("world:", workers=0, save_every=1, log_every=1, resume="auto", timeout=60.0)


def fork(job: Callable[[], None]) -> int:
    """Start `job` in a process of its own and return its id; it ends with 0, or 1 and its traceback on stderr."""
    child = os.fork()
    if child:
        return child
    code = 1
    faulthandler.dump_traceback_later(240, exit=True)  # one that hangs says where, before the test gives up on it
    try:
        torch.set_num_threads(1)
        job()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(*children: int) -> list[int]:
    """Return the exit codes of processes, -9 for a killed one."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def fork_ranks(size: int, job: Callable[[int], None]) -> list[int]:
    """Start `job(rank)` in each of `size` processes that torchrun could have started, and return their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def begin(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        job(rank)

    return [fork(lambda rank=rank: begin(rank)) for rank in range(size)]  # type: ignore[misc]


def suicide() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_again_and_again(folder: Path) -> None:
    """Kill a run at steps, in the middle of writing and at every sync of a checkpoint and more; then let it end."""
    assert wait(fork(lambda: finish(folder / "whole"))) == [0]
    kills: list[tuple[str, int]] = [
        ("step", 1),
        ("write", 1),
        ("step", 2),
        ("write", 2),
        *(("sync", n) for n in range(1, 9)),
    ]
    codes = [wait(fork(lambda kill=kill: train_until(folder / "cut", *kill)))[0] for kill in kills]  # type: ignore[misc]
    (folder / "codes").write_text(" ".join(map(str, codes)))
    assert wait(fork(lambda: finish(folder / "cut"))) == [0]


def finish(out: Path) -> None:
    train(SHORT, out, SETTINGS)


def train_until(out: Path, what: str, number: int) -> None:
    """Train and kill this process when it does `what` for the `number`-th time."""
    count = 0

    def kill_in_time(*_: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            suicide()

    real_save, real_sync = torch.save, os.fsync

    def save_half(record: Any, file: Any) -> None:
        real_save(record, file)
        if what == "write":
            file.truncate(file.tell() // 2)
            file.flush()
            kill_in_time()

    def sync(descriptor: int) -> None:
        real_sync(descriptor)
        if what == "sync":
            kill_in_time()

    checkpoint.torch.save = save_half  # type: ignore[attr-defined]
    os.fsync = sync
    train(SHORT, out, SETTINGS, on_step=kill_in_time if what == "step" else lambda progress: None)


def gradients(folder: Path, model: str) -> None:
    """Write the gradients of one step of one process with a batch of four, and of two with two pictures each."""

    def step(name: str) -> None:
        recipe = replace(ONE_STEP, model=model)
        task = make_task(recipe, "world:", imgsz=recipe.phases[0].imgsz)
        with join_job(Device("cpu"), timeout=60) as job:
            state = TrainingState(recipe, task, SETTINGS, job)
            state.begin()
            for module in state.model.modules():
                if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
                    module.eval()  # statistics and chance are each process's own
            parts = load_parts(task.data, steps=range(1), batch=4, rank=job.rank, size=job.size, shuffled=False)
            values, _ = state.advance(fetch(parts, job.device), task.losses)
            if job.leads:
                found = {key: p.grad for key, p in state.model.named_parameters() if p.requires_grad}
                torch.save({"gradients": found, "values": values}, folder / name)

    one = fork(lambda: step("one.pt"))
    assert wait(one, *fork_ranks(2, lambda rank: step("two.pt"))) == [0, 0, 0]


def measured(folder: Path) -> None:
    """Write what a network scores on held-out pictures with one process, and with two what each of them says."""

    def measure(name: str) -> None:
        task = make_task(ONE_STEP, "world:", imgsz=(64, 96))
        torch.manual_seed(0)
        model = build_model(ONE_STEP.model, len(task.data.classes)).eval()
        with join_job(Device("cpu"), timeout=60) as job:
            scores = task.measure(model, 3, job, lambda: False)
            stopped = task.measure(model, 3, job, lambda: job.rank == 1)
            found = {"scores": scores, "stopped": stopped, "collected": job.collect([job.rank, name])}
            (folder / name).write_text(json.dumps(found))

    assert wait(fork(lambda: measure("one")), *fork_ranks(2, lambda rank: measure(f"two-{rank}"))) == [0, 0, 0]


def lost_process(folder: Path, how: str) -> None:
    """Let one process of two vanish after a step, kill or stop; write what the other says, and let the job end."""

    def work(rank: int) -> None:
        def vanish(progress: Progress) -> None:
            if progress.step == 2:
                (folder / "vanished").write_text(str(time.monotonic()))
                os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)

        settings = replace(SETTINGS, timeout=60.0 if how == "kill" else 15.0)
        try:
            train(SHORT, folder / "run", settings, on_step=vanish)  # called in the leading process alone
        except SoloRTError as error:
            waited = time.monotonic() - float((folder / "vanished").read_text())
            (folder / "waited").write_text(str(waited))
            (folder / "message").write_text(str(error))
            raise SystemExit(1) from error

    leader, other = fork_ranks(2, work)
    codes = wait(other)
    if how == "stop":
        os.kill(leader, signal.SIGKILL)
    codes += wait(leader)
    (folder / "codes").write_text(" ".join(map(str, codes)))
    assert wait(*fork_ranks(2, lambda rank: finish(folder / "run"))) == [0, 0]
    assert wait(*fork_ranks(2, lambda rank: finish(folder / "whole"))) == [0, 0]


def stopped(folder: Path) -> None:
    """Ask one process of two to stop during a step; each writes where it ended."""

    def work(rank: int) -> None:
        stop = threading.Event()
        if rank == 1:
            stop.set()
        outcome = train(SHORT, folder / "run", SETTINGS, stop=stop)
        (folder / f"rank{rank}").write_text(f"{outcome.step} {outcome.stopped}")

    assert wait(*fork_ranks(2, work)) == [0, 0]


if __name__ == "__main__":
    name, place, *rest = sys.argv[1:]
    globals()[name](Path(place), *rest)
