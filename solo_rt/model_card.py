"""What a model file holds, as plain values: for `solo-rt inspect`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from solo_rt.engine import find_model, open_engine
from solo_rt.engine.onnx_file import read_onnx


def describe_model(model: str | Path | None) -> dict[str, object]:
    """Return the facts about a model as JSON values, after one picture has gone through it.

    Raises: UsageError, SpecError, EngineError, as `open_engine`.
    """
    path = find_model(model)
    file = read_onnx(path)
    with closing(open_engine(path, backend="onnxruntime", device="cpu")) as engine:
        spec = engine.spec
        shape = (spec.input.batch, 3, spec.input.height, spec.input.width)
        outputs = engine.infer({spec.input.name: np.zeros(shape, np.float32)})
    record = asdict(spec)
    return {
        "name": spec.name,
        "path": str(path),
        "bytes": file.size,
        "parameters": file.parameters,
        "input": {**record["input"], "shape": list(shape)},
        "outputs": {
            name: {"type": spec.decoder.output_type(name), "shape": list(array.shape)}
            for name, array in outputs.items()
        },
        "classes": list(spec.classes),
        "decoder": record["decoder"],
        "provenance": record["provenance"],
        "producer": file.producer,
        "opset": file.opset,
        "operators": dict(file.operators),
    }
