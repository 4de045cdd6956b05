"""What a model file holds, as plain values: for `solo-rt inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from solo_rt.engine import find_model, open_engine
from solo_rt.engine.onnx_file import read_onnx
from solo_rt.engine.plan import SUFFIX, read_content, read_plan
from solo_rt.spec import ModelSpec


def describe_model(model: str | Path | None) -> dict[str, object]:
    """Return the facts about a model as JSON values; of an ONNX file after one picture has gone through it.

    Of a TensorRT engine these are the facts beside it, which need no GPU; nothing of the engine itself is run.
    Raises: UsageError, SpecError, EngineError, as `open_engine`.
    """
    path = find_model(model)
    return _describe_plan(path) if path.suffix == SUFFIX else _describe_onnx(path)


def _describe_onnx(path: Path) -> dict[str, object]:
    file = read_onnx(path)
    with closing(open_engine(path, backend="onnxruntime", device="cpu")) as engine:
        spec = engine.spec
        size = spec.input
        outputs = engine.infer({size.name: np.zeros((size.batch, 3, size.height, size.width), np.float32)})
    return {
        **_describe_spec(spec, path, {name: array.shape for name, array in outputs.items()}),
        "bytes": file.size,
        "parameters": file.parameters,
        "producer": file.producer,
        "opset": file.opset,
        "operators": dict(file.operators),
    }


def _describe_plan(path: Path) -> dict[str, object]:
    plan = read_plan(path)
    read_content(plan)  # which is then what the file beside it describes
    key = plan.key
    return {
        **_describe_spec(plan.spec, path, plan.spec.output_shapes),
        "bytes": plan.size,
        "precision": key.precision,
        "built_for": {name: getattr(key, name) for name in ("gpu", "cuda", "tensorrt", "platform", "plugins")},
        "options": {"workspace": key.workspace, "level": key.level},
        "sha256": {
            "engine": plan.sha256,
            "model": key.model_sha256,
            "passes": key.passes_sha256,
            "calibration": key.calibration_sha256,
        },
        "agreement": dict(plan.agreement),
    }


def _describe_spec(spec: ModelSpec, path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, object]:
    record = asdict(spec)
    return {
        "name": spec.name,
        "path": str(path),
        "input": {**record["input"], "shape": [spec.input.batch, 3, spec.input.height, spec.input.width]},
        "outputs": {
            name: {"type": spec.decoder.output_type(name), "shape": list(shape)} for name, shape in shapes.items()
        },
        "classes": list(spec.classes),
        "decoder": record["decoder"],
        "provenance": record["provenance"],
        "costs": record["costs"],
    }
