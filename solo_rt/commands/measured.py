"""The model that `solo-rt eval` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solo_rt.commands.options import require_torch
from solo_rt.device import Device
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.spec import ModelSpec


def find_measured(model: str | None, *, backend: str, device: str) -> Path:
    """Return the file that is measured; of an ONNX file with the tensorrt backend, the engine that was built of it.

    Raises: UsageError, EngineError where there is no such engine.
    """
    from solo_rt.engine import choose_backend, find_model

    path, wanted = find_model(model), Device.parse(device)
    if choose_backend(path, backend, wanted) != "tensorrt" or path.suffix == ".engine":
        return path
    from solo_rt.engine.tensorrt import find_engine

    return find_engine(path, device=wanted)


def measured_spec(path: Path) -> ModelSpec:
    """Return the spec of an ONNX file or an engine. Raises: UsageError, SpecError, EngineError."""
    from solo_rt.engine.model_file import read_spec
    from solo_rt.engine.plan import read_plan

    return read_plan(path).spec if path.suffix == ".engine" else read_spec(path)


def check_recordable(path: Path) -> None:
    """Raise UsageError unless what is measured is a file that keeps numbers."""
    instead = {
        ".pt": "export the checkpoint first",
        ".engine": "measure the .onnx file itself, without --backend tensorrt",
    }
    if path.suffix in instead:
        raise UsageError(f"--record {path}: the numbers are kept in .onnx files; {instead[path.suffix]}")


def record_metrics(model: str, metrics: Mapping[str, float], *, names: Sequence[str]) -> None:
    """Write the metrics `names` into the model file they were measured on. Raises: UsageError."""
    check_recordable(Path(model))
    require_torch("eval --record")
    from solo_rt.engine.model_file import read_spec
    from solo_rt.train.export.onnx_file import record_metrics as write_metrics

    path = Path(model)
    write_metrics(path, read_spec(path), {name: round(metrics[name], 4) for name in names})
