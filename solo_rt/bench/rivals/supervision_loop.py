"""supervision: `process_video` with its annotators, as its guide has it, on objects that solo-rt's engine finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision

from solo_rt.bench.rivals import Play, Played, Task
from solo_rt.bench.rivals.ours import open_task_engine
from solo_rt.errors import UsageError
from solo_rt.pipeline import Options
from solo_rt.pipeline.sharing import one_by_one
from solo_rt.pipeline.stage import Job
from solo_rt.pipeline.stages import build_stages
from solo_rt.types import Frame


def open_play(task: Task) -> Play:
    """Return what plays the task. Raises: UsageError for a model that finds no instances."""
    engine = one_by_one(open_task_engine(task), live=True)
    if engine.spec.decoder.task != "instances":
        raise UsageError(f"expected a model of instances, got {engine.spec.name}")
    stages = build_stages(engine, Options(), with_picture=False)
    annotators = [supervision.MaskAnnotator(), supervision.BoxAnnotator()]
    labels = supervision.LabelAnnotator()
    output = str(Path(task.folder) / "out.mp4")

    def play(frames: int) -> Played:
        counts: list[int] = []

        def callback(bgr: Any, index: int) -> Any:
            job = Job(Frame((cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB),), "rgb24", index=index))
            for stage in stages:
                stage(job)
            if job.error is not None:
                raise job.error
            found = job.result(engine.spec).to_supervision()
            counts.append(len(found))
            texts = [
                f"{name} {score:.2f}" for name, score in zip(found.data["class_name"], found.confidence, strict=True)
            ]
            drawn = bgr.copy()
            for annotator in annotators:
                drawn = annotator.annotate(scene=drawn, detections=found)
            return np.asarray(labels.annotate(scene=drawn, detections=found, labels=texts))

        supervision.process_video(task.clip, output, callback, max_frames=frames)
        return Played(len(counts), sum(counts))

    return play
