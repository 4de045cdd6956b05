"""The model that `solo-rt eval` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solo_rt.commands.options import require_onnx, require_torch
from solo_rt.device import Device
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Engine, Precision
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


def is_semantic(path: Path | None, files: Sequence[Path]) -> bool:
    """Return whether the `files` of an evaluation in parts, or else the model at `path`, are semantic."""
    if path is None:
        from solo_rt.train.evaluate.tallies import is_tally

        return is_tally(files[0])
    if path.suffix == ".pt":
        require_torch("eval of a checkpoint")
        from solo_rt.train.checkpoint import load_checkpoint
        from solo_rt.train.models import is_semantic as labels_pixels

        return labels_pixels(load_checkpoint(path).model)
    return measured_spec(path).decoder.task == "semantic"


def open_measured(
    path: Path, *, backend: str, device: str, precision: Precision, trusted: bool, exact: bool, logits: bool
) -> Engine:
    """Return the engine of the file at `path`; a checkpoint gives `logits` if asked.

    Raises: UsageError, EngineError; UsageError also for an `exact` evaluation of a file that decodes by itself.
    """
    if path.suffix == ".pt":
        if precision not in ("auto", "fp32"):
            raise UsageError(f"--precision {precision}: expected an .onnx file, got {path}; export the checkpoint")
        from solo_rt.train.engine.exact import open_checkpoint

        return open_checkpoint(path, device=Device.parse(device), output_kind="logits" if logits else None)
    from solo_rt.decoders import DetectionsDecoder
    from solo_rt.engine import open_engine

    if exact and isinstance(measured_spec(path).decoder, DetectionsDecoder):
        raise UsageError(
            f"--exact {path}: expected a model that gives its raw outputs, this engine decodes them itself; leave "
            f"--exact out, or measure the .onnx file it was built of"
        )
    lanes = 1 if exact or logits else None  # only `detect` looks at several pictures at once
    return open_engine(path, backend=backend, device=device, lanes=lanes, precision=precision, trusted=trusted)


def measured_spec(path: Path) -> ModelSpec:
    """Return the spec of an ONNX file or an engine. Raises: UsageError, SpecError, EngineError."""
    from solo_rt.engine.model_file import read_spec
    from solo_rt.engine.plan import read_plan

    return read_plan(path).spec if path.suffix == ".engine" else read_spec(path)


def check_recordable(path: Path, precision: Precision) -> None:
    """Raise UsageError unless what is measured is a file that keeps numbers, and has those to compare these with.

    And where onnx is not installed, which writes them.
    """
    require_onnx("eval --record")
    instead = {
        ".pt": "export the checkpoint first",
        ".engine": "measure the .onnx file itself, without --backend tensorrt",
    }
    if path.suffix in instead:
        raise UsageError(f"--record {path}: the numbers are kept in .onnx files; {instead[path.suffix]}")
    if precision == "int8" or measured_spec(path).is_int8:
        raise UsageError(
            f"--record {path}: what INT8 costs stands in the INT8 file; solo-rt quantize --data measures it"
        )
    if precision == "bf16" and not set(measured_spec(path).provenance.metrics) & {"AP", "mIoU"}:
        raise UsageError(f"--record {path}: what bf16 costs is known beside fp32; run with --precision fp32 first")


def record_metrics(model: str, metrics: Mapping[str, float], *, names: Sequence[str], precision: Precision) -> None:
    """Write the metrics `names` into the model file they were measured on, or what a precision costs of the first.

    Raises: UsageError, also where nothing could be measured.
    """
    path = Path(model)
    check_recordable(path, precision)
    if not metrics[names[0]] >= 0:
        raise UsageError(
            f"--record {path}: there is no {names[0]}: the data has nothing of the model's classes; choose other data"
        )
    from solo_rt.engine import model_file

    spec, rounded = model_file.read_spec(path), {name: round(metrics[name], 4) for name in names}
    if precision == "fp32":
        model_file.record_metrics(path, spec, rounded)
    else:
        cost = round(spec.provenance.metrics[names[0]] - rounded[names[0]], 4)
        model_file.record_costs(path, spec, {precision: cost})
