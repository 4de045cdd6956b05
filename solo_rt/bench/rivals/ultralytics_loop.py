"""Ultralytics YOLO11n-seg: `predict` with `stream` and `save`, as its documentation has it for videos.

The network computes in PyTorch, or is exported to OpenVINO first, with INT8 or without: what its documentation says is
the fastest on a CPU.
"""

from __future__ import annotations

import math
import os
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ultralytics import YOLO

from solo_rt.bench.rivals import Play, Played, Task
from solo_rt.errors import EngineError

WANTED = 10  # objects in a frame
ENOUGH = 9.5  # of them on average
NETWORK = "yolo11n-seg.yaml"
SIDE, STRIDE = 640, 32  # the longer side of its input, and what both sides are multiples of
LOWEST, HIGHEST, STEPS = -10.0, 8.0, 8  # of the search for a bias; above it is lost in candidates
LOOKED_AT = 12  # frames, spread over the clip, that the bias is searched on
CALIBRATED = 48  # frames, spread over the clip, that give the ranges of INT8


def open_play(task: Task) -> Play:
    """Return what plays the task with random weights that find about `WANTED` objects in a frame."""
    return _play(_network(task), task)


def open_openvino(task: Task) -> Play:
    """Return what plays the task with the same network, exported to OpenVINO for the shape of the clip's frames."""
    return _play(_exported(task, {}), task)


def open_int8(task: Task) -> Play:
    """Return what plays the task with the same network, exported to OpenVINO in INT8 with ranges of the clip itself."""
    folder = Path(task.folder) / "calibration"
    (folder / "images").mkdir(parents=True)
    for index, frame in enumerate(_frames(task, CALIBRATED)):
        cv2.imwrite(str(folder / "images" / f"{index}.jpg"), frame)
    data = folder / "data.yaml"
    data.write_text(f"path: {folder.resolve()}\ntrain: images\nval: images\nnames:\n  0: object\n")
    return _play(_exported(task, {"int8": True, "data": str(data)}), task)


def _play(model: Any, task: Task) -> Play:
    def play(frames: int) -> Played:
        results = model.predict(
            task.clip,
            stream=True,
            save=True,
            project=task.folder,
            name="out",
            exist_ok=True,
            max_det=WANTED,
            verbose=False,
            device=_device(task),
        )
        counts = [len(result) for result in islice(results, frames)]
        results.close()
        return Played(len(counts), sum(counts))

    return play


def _network(task: Task) -> Any:
    torch.manual_seed(0)
    model = YOLO(NETWORK, task="segment")
    _find_bias(model, task)
    return model


def _exported(task: Task, settings: dict[str, Any]) -> Any:
    """Return the network as OpenVINO computes it, without the padding of square pictures."""
    model = _network(task)
    height, width = _frames(task, 1)[0].shape[:2]
    sides = [math.ceil(SIDE * side / max(height, width) / STRIDE) * STRIDE for side in (height, width)]
    here = Path.cwd()
    os.chdir(task.folder)  # where it writes
    path = Path(model.export(format="openvino", imgsz=sides, **settings)).resolve()
    os.chdir(here)
    return YOLO(path, task="segment")


def _find_bias(model: Any, task: Task) -> None:
    """Shift the biases of all classes as little as lets nearly all frames have `WANTED` objects: the higher, the more.

    Random weights find a hundred in one frame and none in the next; at most `WANTED` are kept.
    """
    frames = _frames(task, LOOKED_AT)
    _normalise(model.model, frames)

    def count() -> float:
        found = model.predict(frames, max_det=WANTED, verbose=False, device=_device(task))
        return sum(map(len, found)) / len(frames)

    count()  # the predictor, whose copy of the network computes, comes into being with the first frame
    copies = [copy.model[-1].cv3 for copy in (model.predictor.model.model, model.model)]
    layers = [level[-1] for copy in copies for level in copy]
    first = [layer.bias.detach().clone() for layer in layers]

    def finds_enough(shift: float) -> bool:
        with torch.no_grad():
            for layer, bias in zip(layers, first, strict=True):
                layer.bias.copy_(bias + shift)
        return count() >= ENOUGH

    low, high = LOWEST, HIGHEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if finds_enough(middle) else (middle, high)
    if not finds_enough(high):
        raise EngineError(f"expected a bias with which it finds {WANTED} objects in a frame, found none")


def _frames(task: Task, count: int) -> list[Any]:
    """Return at most so many frames, spread over the clip."""
    capture = cv2.VideoCapture(task.clip)
    step = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // count)
    frames: list[Any] = []
    while len(frames) < count and capture.grab():
        frames.append(capture.retrieve()[1])
        for _ in range(step - 1):
            capture.grab()
    capture.release()
    return frames


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
