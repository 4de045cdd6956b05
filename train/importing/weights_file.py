"""Reading what other code bases saved with torch: tensors and plain values, never code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from solo_rt.errors import UsageError

CONTAINERS = ("ema", "state_dict", "model")  # under which weights are kept, averaged ones before others
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # the same module before and since version 2
# What OpenMMLab puts beside the weights: numpy's scalars, arrays and, in training checkpoints of mmengine, a log that
# refers to its own methods.
METADATA = (
    *(f"{module}.{function}" for module in NUMPY for function in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
)


class Skipped:
    """Stands for whatever `METADATA` names, so that reading a file makes none of it and calls none of it."""

    def __init__(self, *_parts: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The weights of one network, and what was stored beside them."""

    weights: dict[str, Tensor]  # floating-point ones in float32
    metadata: Mapping[str, object]  # plain values or `Skipped`; empty where a file has none


def read_weights_file(path: Path) -> WeightsFile:
    """Return the weights at `path`, a state dict or a training checkpoint with one, without what wrapped them.

    Averaged weights are taken where there are others too. OpenMMLab's files have the averaged ones under the plain
    names, and those being trained as `ema_...` or in `ema_state_dict`.
    Raises: UsageError when there is no file, it holds code, or no weights.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}; download the weights first")
    try:
        with torch.serialization.safe_globals([(Skipped, name) for name in METADATA]):
            record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader raise
        raise UsageError(f"{path}: {_explain(error)}") from error
    found = record if isinstance(record, dict) else {}
    metadata = found.get("meta")
    state = next((found[name] for name in CONTAINERS if isinstance(found.get(name), dict)), found)
    strangers = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if not state or strangers:
        what = f"also {', '.join(strangers[:3])}" if strangers else type(record).__name__
        raise UsageError(f"{path}: expected tensors by name, alone or as {' or '.join(CONTAINERS)}; found {what}")
    weights = {re.sub(r"^(module\.)+", "", key): _plain(value) for key, value in state.items()}
    return WeightsFile(
        {key: value for key, value in weights.items() if not key.startswith("ema_")},
        metadata if isinstance(metadata, dict) else {},
    )


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor


def _explain(error: Exception) -> str:
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code:
        return f"it holds code ({code[1]}), which is never run; save the network's state_dict() alone and import that"
    return f"not a file that torch.save wrote, or not all of it ({type(error).__name__}); download it again"
