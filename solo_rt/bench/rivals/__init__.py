"""Others on the same clip in the same run, each as its own documentation tells users to run it, and we as one of them.

All have the same task, from a video file to an annotated video file, and a process each: what one sets, breaks or uses
is its own. Laps take turns.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from solo_rt.errors import UsageError

OURS = "solo-rt"


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: the objects of a video file are found and drawn into another one."""

    clip: str
    frame_rate: float
    folder: str  # for the output
    model: str | None
    backend: str
    device: str
    precision: str
    threads: int | None
    lanes: int | None
    trusted: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        return asdict(self)


class Played(NamedTuple):
    """What came of so many frames of the clip."""

    frames: int
    objects: int


Play = Callable[[int], Played]  # of at most so many frames, from opening the clip to closing the output


class Rival(NamedTuple):
    """Something that does the task; `note` is what differs from the others."""

    opens: str  # "module:function" of this package, which takes a task and returns a Play
    packages: tuple[str, ...]  # modules that must be there
    install: str
    note: str


RIVALS: dict[str, Rival] = {
    OURS: Rival("ours:open_play", (), "", "its pipeline with the engine above, H.264"),
    "torch": Rival(
        "torch_loop:open_play",
        ("torch", "onnx"),
        "pip install torch onnx",
        "the same network, its ONNX graph operation by operation in eager PyTorch, FP32 (autocast to FP16 on CUDA), "
        "with the released post-processing of SOLOv2; OpenCV decodes, labels and writes MPEG-4",
    ),
    "opencv": Rival(
        "opencv_loop:open_play",
        (),
        "",
        "the same network in ONNX Runtime with its default options, FP32, post-processing in numpy and OpenCV, blended "
        "whole frames; cv2.VideoCapture and cv2.VideoWriter, MPEG-4",
    ),
    "supervision": Rival(
        "supervision_loop:open_play",
        ("supervision",),
        "pip install supervision",
        "objects by the engine and the decoding of solo-rt; supervision's process_video decodes, draws (mask, box and "
        "label annotators) and writes MPEG-4",
    ),
    "ultralytics": Rival(
        "ultralytics_loop:open_play",
        ("ultralytics", "torch", "torchvision"),
        "pip install ultralytics",
        "YOLO11n-seg at 640 pixels, another network, with random weights whose class biases are shifted until it finds "
        "10 objects in nearly all frames, of which it keeps no more: the work, not the accuracy; predict(stream=True, "
        "save=True, max_det=10) in PyTorch, FP32",
    ),
    "ultralytics-openvino": Rival(
        "ultralytics_loop:open_openvino",
        ("ultralytics", "torch", "torchvision", "openvino"),
        "pip install ultralytics openvino",
        'the same network after export(format="openvino"), for the shape of the frames; in BF16 where the CPU has it',
    ),
    "ultralytics-int8": Rival(
        "ultralytics_loop:open_int8",
        ("ultralytics", "torch", "torchvision", "openvino", "nncf"),
        "pip install ultralytics openvino nncf",
        'the same after export(format="openvino", int8=True), with ranges of frames of the clip',
    ),
}


def open_play(name: str, task: Task) -> Play:
    """Return what plays the task as the rival does. Raises: whatever the rival does."""
    module, _, function = RIVALS[name].opens.partition(":")
    opened: Callable[[Task], Play] = getattr(importlib.import_module(f"solo_rt.bench.rivals.{module}"), function)
    return opened(task)


def find_rivals(names: str) -> tuple[list[str], dict[str, str]]:
    """Return the rivals of a list such as torch,opencv, or all, that are installed, and how to install the others.

    Raises: UsageError for one that nobody knows.
    """
    known = [name for name in RIVALS if name != OURS]
    words = known if names == "all" else [word.strip() for word in names.split(",")]
    if not set(words) <= set(known) or len(set(words)) < len(words):
        raise UsageError(f"--against {names}: expected all, or some of {', '.join(known)}, each once")
    absent = {
        name: f"not installed: {RIVALS[name].install}"
        for name in words
        if not all(importlib.util.find_spec(package) for package in RIVALS[name].packages)
    }
    return [name for name in words if name not in absent], absent
