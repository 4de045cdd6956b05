"""From an ONNX file to the network that TensorRT is given.

This and the modules it takes its passes from decide what is built of a file, so the key of a plan holds their hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from solo_rt.builder.precision import half_name, to_half
from solo_rt.builder.quantise import quantise
from solo_rt.engine.operators import DOMAIN
from solo_rt.engine.plan import Precision
from solo_rt.spec import ModelSpec

Float32 = NDArray[np.float32]


def typed_model(path: Path, spec: ModelSpec, precision: Precision, pictures: Iterable[Float32] = ()) -> onnx.ModelProto:
    """Return the model in its precision, with the decoded outputs where the file has them and else its raw ones.

    `pictures` are network inputs for the ranges of INT8. Raises: EngineError, UsageError.
    """
    model = onnx.load(path)
    tail = [node for node in model.graph.node if node.domain == DOMAIN]
    names = {name for node in tail for name in node.output} & {value.name for value in model.graph.output}
    heads = [value for value in model.graph.output if value.name in spec.output_shapes]
    decoded = [value for value in model.graph.output if value.name in names]
    _drop(model.graph.node, tail)
    _drop(model.graph.output, decoded)
    functions = list(model.functions)
    del model.functions[:]
    if precision == "int8":
        model = quantise(model, pictures)
    elif precision == "fp16":
        model = to_half(model)
    if decoded:
        made = {name for node in model.graph.node for name in node.output}
        for node in tail:  # the plugins take heads in half precision as they are; the casts behind them fall away
            node.input[:] = [half if (half := half_name(name)) in made else name for name in node.input]
        _drop(model.graph.output, heads)
        model.graph.output.extend(decoded)
        model.graph.node.extend(tail)
        model.functions.extend(functions)
    return model


def without_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which our operators have no bodies, so that they are plugins or an error."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [function for function in result.functions if function.domain != DOMAIN]
    del result.functions[:]
    result.functions.extend(kept)
    return result


def _drop(items: Any, unwanted: Iterable[Any]) -> None:
    for item in unwanted:
        items.remove(item)
