"""Where the time of a training step goes, and how many pictures a second one worker loads.

    python tests/bench/training.py [--model solov2-nano] [--data world:] [--imgsz 256x448] [--batch 8] [--steps 8]

Loading is timed in this process with one thread, as each worker does it. On a GPU the device is waited for after each
stretch, so that the stretches add up; a run does not wait and is faster than their sum.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import replace

import cv2
import torch

from solo_rt.device import Device
from solo_rt.train.data.batches import fetch, load_parts
from solo_rt.train.distributed import join_job
from solo_rt.train.recipes import RECIPES, adapt, count_steps, find_recipe
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState
from solo_rt.train.task import make_task

STRETCHES = ("data", "forward", "loss", "backward", "step")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="solov2-nano")
    parser.add_argument("--data", default="world:")
    parser.add_argument("--imgsz", default="256x448")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), default="off")
    arguments = parser.parse_args()
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
        times: dict[str, list[float]] = defaultdict(list)
        mark = time.perf_counter()

        def lap(stretch: str) -> None:
            nonlocal mark
            if job.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            times[stretch].append(now - mark)
            mark = now

        for _ in steps:
            mark = time.perf_counter()
            state.advance(parts, task.losses, lap=lap)
    best = {stretch: min(times[stretch][1:]) for stretch in STRETCHES}  # the first step warms up
    total = sum(best.values())
    print(f"{arguments.model} on {arguments.data}, {height}x{width}, batch {arguments.batch}, {job.device}:")
    for stretch, seconds in best.items():
        print(f"  {stretch:9} {seconds * 1e3:8.1f} ms {seconds / total:6.1%}")
    learning = total - best["data"]
    print(f"  learning alone: {arguments.batch / learning:.1f} pictures/s, batch in memory")
    print(f"  loading: {arguments.batch / best['data']:.1f} pictures/s per worker")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
