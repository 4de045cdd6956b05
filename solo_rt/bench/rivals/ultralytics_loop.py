"""Ultralytics YOLO11n-seg: `predict` with `stream` and `save`, as its documentation has it for videos."""

from __future__ import annotations

from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from ultralytics import YOLO

from solo_rt.bench.rivals import Play, Played, Task
from solo_rt.errors import EngineError

WANTED = 10  # objects in a frame
NETWORK = "yolo11n-seg.yaml"
LOWEST, HIGHEST, STEPS = -10.0, 20.0, 20  # of the search for a bias
LOOKED_AT, EVERY = 120, 15  # frames of the clip, of which every so-manieth is looked at for it


def open_play(task: Task) -> Play:
    """Return what plays the task with random weights that find about `WANTED` objects in a frame."""
    torch.manual_seed(0)
    model = YOLO(NETWORK, task="segment")

    def play(frames: int) -> Played:
        results = model.predict(
            task.clip,
            stream=True,
            save=True,
            project=task.folder,
            name="out",
            exist_ok=True,
            verbose=False,
            device=_device(task),
        )
        counts = [len(result) for result in islice(results, frames)]
        results.close()
        return Played(len(counts), sum(counts))

    _find_bias(model, task)
    return play


def _find_bias(model: Any, task: Task) -> None:
    """Shift the biases of all classes until about `WANTED` objects are found in a frame: the higher, the more."""
    capture = cv2.VideoCapture(task.clip)
    frames = [frame for is_read, frame in (capture.read() for _ in range(LOOKED_AT)) if is_read][::EVERY]
    capture.release()
    _normalise(model.model, frames)

    def count() -> float:
        return sum(map(len, model.predict(frames, verbose=False, device=_device(task)))) / len(frames)

    count()  # the predictor, whose copy of the network computes, comes into being with the first frame
    layers = [level[-1] for level in model.predictor.model.model.model[-1].cv3]
    first = [layer.bias.detach().clone() for layer in layers]
    low, high = LOWEST, HIGHEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        with torch.no_grad():
            for layer, bias in zip(layers, first, strict=True):
                layer.bias.copy_(bias + middle)
        found = count()
        if abs(found - WANTED) <= 0.3 * WANTED:
            return
        low, high = (middle, high) if found < WANTED else (low, middle)
    raise EngineError(f"expected a bias with which it finds about {WANTED} objects in a frame, got {found:g}")


def _normalise(network: Any, frames: list[Any]) -> None:
    """Let batch norms take their statistics from frames: without, random weights give the same for all pictures."""
    small = np.stack([cv2.resize(frame, (640, 384)) for frame in frames])
    pictures = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(pictures)
    network.eval()


def _device(task: Task) -> str | None:
    return None if task.device == "auto" else task.device
