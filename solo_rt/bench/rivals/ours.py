"""solo-rt as a rival: its pipeline, as `solo-rt run` runs it."""

from __future__ import annotations

from pathlib import Path

from solo_rt.bench.rivals import Play, Played, Task
from solo_rt.engine import Engine, Precision, open_engine
from solo_rt.pipeline import Options, Pipeline


def open_play(task: Task) -> Play:
    """Return what plays the task."""
    engine = open_task_engine(task)
    output = str(Path(task.folder) / "out.mp4")

    def play(frames: int) -> Played:
        report = Pipeline(task.clip, engine, [output], Options(max_frames=frames)).run()
        return Played(report.processed, report.instances or 0)

    return play


def open_task_engine(task: Task) -> Engine:
    """Return the engine of a task. Raises: as `open_engine`."""
    precision: Precision = task.precision  # type: ignore[assignment]  # it came by way of JSON
    return open_engine(
        task.model,
        backend=task.backend,
        device=task.device,
        precision=precision,
        threads=task.threads,
        lanes=task.lanes,
        trusted=task.trusted,
    )
