"""Where the time of a training step goes, how many pictures a second one worker loads, and against an older commit.

    python tests/bench/training.py [--model NAME ...] [--data world:] [--imgsz 256x448] [--batch 8] [--steps 8]
    python tests/bench/training.py --model fast-scnn --against 5982cab --amp-then off

`--against` takes steps of both trees in turn, on one batch, so that what else the machine does slows both, and compares
the least of each: by the clock, and by the CPU time of all threads. Precision is what `solo-rt train` takes, and
PyTorch's idle threads sleep as they do there, but not in the older tree.
Loading is timed in this process with one thread, as each worker does it. On a GPU the device is waited for after each
stretch, so that the stretches add up; a run does not wait and is faster than their sum.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from solo_rt.device import Device
from solo_rt.engine.precision import has_bf16
from solo_rt.train.data.batches import fetch, load_parts
from solo_rt.train.distributed import join_job
from solo_rt.train.recipe import adapt, count_steps
from solo_rt.train.recipes import RECIPES, find_recipe
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState
from solo_rt.train.task import make_task

STRETCHES = ("data", "forward", "loss", "backward", "step")
ROOT = Path(__file__).parents[2]


def main() -> None:
    """Print both tables, or how this tree compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["solov2-nano", "fast-scnn"])
    parser.add_argument("--data", default="world:")
    parser.add_argument("--imgsz", default="256x448")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), default="bf16" if has_bf16() else "off")
    parser.add_argument("--against", metavar="COMMIT", help="tree to compare with")
    parser.add_argument("--amp-then", choices=("off", "bf16", "fp16"), help="precision there, by default the same")
    parser.add_argument("--in-turn", action="store_true", help=argparse.SUPPRESS)  # a step for every line of stdin
    arguments = parser.parse_args()
    if not (arguments.in_turn or arguments.against) and environment() != os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    for model in arguments.model:
        arguments.model = model
        if arguments.in_turn:
            take_steps(
                arguments, lambda: bool(sys.stdin.readline()), lambda times: print(json.dumps(times), flush=True)
            )
        elif arguments.against:
            compare(arguments)
        else:
            describe(arguments)


def take_steps(
    arguments: argparse.Namespace, goes_on: Callable[[], bool], tell: Callable[[dict[str, float]], None]
) -> None:
    """Train as long as `goes_on()` says so and tell, after each step, the seconds of its stretches and `cpu`.

    `cpu` is the CPU time of all threads in all stretches but loading. Memory is kept as `train` keeps it.
    """
    with suppress(ImportError):  # older trees do not
        from solo_rt.cpu import keep_memory

        keep_memory()
    height, width = (int(side) for side in arguments.imgsz.split("x"))
    recipe = adapt(
        RECIPES[find_recipe(arguments.model, arguments.data)],
        model=arguments.model,
        imgsz=(height, width),
        batch=arguments.batch,
        steps=arguments.steps,
    )
    settings = Settings(arguments.data, device=Device.parse(arguments.device), amp=arguments.amp)
    task = make_task(recipe, arguments.data, imgsz=(height, width))
    with join_job(settings.device, timeout=settings.timeout) as job:
        state = TrainingState(replace(count_steps(recipe, len(task.data)), frozen=False), task, settings, job)
        state.begin()
        steps = range(arguments.steps + 1)
        found = load_parts(task.data, steps=steps, batch=arguments.batch, shuffled=task.shuffled, tall=task.tall)
        parts = fetch(found, job.device)
        if arguments.in_turn:  # what loading costs is not compared
            parts = itertools.repeat(next(parts))
        times: dict[str, float] = {}
        mark = cpu = 0.0

        def lap(stretch: str) -> None:
            nonlocal mark, cpu
            if job.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            times[stretch], mark = now - mark, now
            if stretch == "data":
                cpu = time.process_time()

        for _ in steps:
            if not goes_on():
                return
            mark = time.perf_counter()
            state.advance(parts, task.losses, lap=lap)
            tell({**times, "cpu": time.process_time() - cpu})


def least(steps: list[dict[str, float]]) -> dict[str, float]:
    """Return the least seconds of each stretch; the first step warms up."""
    return {name: min(step[name] for step in steps[1:]) for name in steps[0]}


def describe(arguments: argparse.Namespace) -> None:
    """Print where the time goes."""
    steps: list[dict[str, float]] = []
    take_steps(arguments, lambda: True, lambda times: steps.append(dict(times)))
    best = least(steps)
    cpu = best.pop("cpu")
    total = sum(best.values())
    print(f"{title(arguments)}, {arguments.amp}:")
    for stretch in STRETCHES:
        print(f"  {stretch:9} {best[stretch] * 1e3:8.1f} ms {best[stretch] / total:6.1%}")
    learning = total - best["data"]
    print(f"  learning alone: {arguments.batch / learning:.1f} pictures/s, batch in memory; {cpu * 1e3:.0f} ms of CPU")
    print(f"  loading: {arguments.batch / best['data']:.1f} pictures/s per worker")


def title(arguments: argparse.Namespace) -> str:
    """Return what is trained on what."""
    return f"{arguments.model} on {arguments.data}, {arguments.imgsz}, batch {arguments.batch}, {arguments.device}"


def compare(arguments: argparse.Namespace) -> None:
    """Print the pictures a second of this tree and of `arguments.against`, and their ratio."""
    precisions = {"now": arguments.amp, "then": arguments.amp_then or arguments.amp}
    told: dict[str, list[dict[str, float]]] = {name: [] for name in precisions}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        unpack(arguments.against, Path(folder))
        paths = {"now": "", "then": folder}
        runs = {name: stack.enter_context(start(paths[name], arguments, precisions[name])) for name in paths}
        for _ in range(arguments.steps + 1):
            for name, run in runs.items():
                assert run.stdin is not None
                assert run.stdout is not None
                run.stdin.write("step\n")
                run.stdin.flush()
                told[name].append(json.loads(run.stdout.readline()))
    print(f"{title(arguments)}, {torch.get_num_threads()} threads, the least of {arguments.steps} steps in turn:")
    rates: dict[str, tuple[float, float]] = {}
    for name, steps in told.items():
        best = least(steps)
        clock = sum(best[stretch] for stretch in STRETCHES[1:])
        rates[name] = arguments.batch / clock, arguments.batch / best["cpu"]
        print(
            f"  {name:4} in {precisions[name]:4} {rates[name][0]:6.1f} pictures/s, {rates[name][1]:6.1f} a CPU second"
        )
    by_clock, by_cpu = (a / b for a, b in zip(rates["now"], rates["then"], strict=True))
    print(f"  {by_clock:.2f} times as fast by the clock, {by_cpu:.2f} by CPU time")


def unpack(commit: str, folder: Path) -> None:
    """Write the package of a commit to `folder`, with the native module of this tree."""
    archive = subprocess.run(
        ["git", "archive", commit, "solo_rt", "train"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    (folder / "train").rename(folder / "solo_rt" / "train")
    for library in (ROOT / "solo_rt").glob("_native*.so"):
        shutil.copy2(library, folder / "solo_rt")


def environment() -> dict[str, str]:
    """Return what `train` makes of this environment before it loads PyTorch."""
    from solo_rt.cpu import sleeping_threads  # older trees have none

    with sleeping_threads():
        return dict(os.environ)


def start(path: str, arguments: argparse.Namespace, amp: str) -> subprocess.Popen[str]:
    """Return a process that trains with the package in `path`, by default this one, as `train` would run it."""
    options = {name: getattr(arguments, name) for name in ("model", "data", "imgsz", "batch", "steps", "device")}
    return subprocess.Popen(
        [sys.executable, __file__, "--in-turn", "--amp", amp, *(f"--{key}={value}" for key, value in options.items())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**(os.environ if path else environment()), "PYTHONPATH": path},
    )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
