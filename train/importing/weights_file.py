"""The weights of one network, and what was stored beside them, from files that other code bases wrote."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.torch_file import is_plain, read_torch_file

CONTAINERS = ("ema", "state_dict", "model")  # under which weights are kept, averaged ones before others
EXPANSION = 16  # times the size of its file that weights may take: twice for float16, again for tensors with two names
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # the same module before and since version 2
PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


class Skipped:
    """Stands for whatever `METADATA` names, so that reading a file makes none of it and calls none of it."""

    def __init__(self, *_parts: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def _empty(*_parts: object) -> dict[object, object]:
    return {}


# What is put beside the weights and says nothing that we need: numpy's scalars and arrays, dates, paths, arguments,
# settings and, in training checkpoints of mmengine, a log that refers to its own methods.
METADATA: dict[str, Callable[..., object]] = {
    **dict.fromkeys(
        (
            *(f"{module}.{function}" for module in NUMPY for function in ("scalar", "_reconstruct")),
            *("numpy.dtype", "numpy.ndarray", "mmengine.logging.history_buffer.HistoryBuffer"),
            *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
            *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in PATHS),
            *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal", "uuid.UUID"),
            *(f"builtins.{name}" for name in ("getattr", "dict", "list", "int", "float", "range", "slice")),
        ),
        Skipped,
    ),
    # These are filled like a dictionary, and torch fills no other kinds.
    **dict.fromkeys(("addict.addict.Dict", "easydict.EasyDict", "yacs.config.CfgNode"), OrderedDict),
    "collections.defaultdict": _empty,
}


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The weights of one network, and what was stored beside them."""

    weights: dict[str, Tensor]  # floating-point ones in float32
    metadata: Mapping[str, object]  # plain values or `Skipped`; empty where a file has none


def read_weights_file(path: Path) -> WeightsFile:
    """Return the weights at `path`, a state dict or a training checkpoint with one, without what wrapped them.

    Averaged weights are taken where there are others too. OpenMMLab's files have the averaged ones under the plain
    names, and those being trained as `ema_...` or in `ema_state_dict`.
    Raises: UsageError when there is no file, it cannot be read without running code, or it holds no weights, more than
    a file of its size can, or weights that are not in floating point.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}; download the weights first")
    if path.suffix == ".safetensors":
        raise UsageError(
            f"{path}: expected a file of torch.save, got safetensors; make one with "
            "torch.save(safetensors.torch.load_file(FILE), 'weights.pth')"
        )
    record = read_torch_file(path, stand_ins=METADATA)
    found = record if isinstance(record, dict) else {}
    metadata = found.get("meta")
    state = next((found[name] for name in CONTAINERS if isinstance(found.get(name), dict)), found)
    strangers = [str(key) for key, value in state.items() if not (isinstance(key, str) and is_plain(value))]
    if not state or strangers:
        what = f"also {', '.join(strangers[:3])}" if strangers else type(record).__name__
        raise UsageError(f"{path}: expected tensors by name, alone or as {' or '.join(CONTAINERS)}; found {what}")
    size, claimed = path.stat().st_size, sum(value.numel() * 4 for value in state.values())
    if claimed > EXPANSION * size:
        raise UsageError(f"{path}: expected weights that fit a file of {size} bytes, got tensors of {claimed} bytes")
    # Counters are single whole numbers. Of weights that were quantised the scales are elsewhere.
    whole = [key for key, value in state.items() if value.numel() > 1 and not value.is_floating_point()]
    if whole:
        raise UsageError(
            f"{path}: expected weights in floating point, got {state[whole[0]].dtype} in {len(whole)} tensors, "
            f"such as {whole[0]}; take the file that they were made of"
        )
    wrappers = ["module", "_orig_mod"]
    if all("model" in key.split(".")[:-1] for key in state):  # an attribute of Lightning's module
        wrappers.append("model")
    prefix = re.compile(rf"^(({'|'.join(wrappers)})\.)+")
    weights = {prefix.sub("", key): _plain(value) for key, value in state.items()}
    return WeightsFile(
        {key: value for key, value in weights.items() if not key.startswith("ema_")},
        metadata if isinstance(metadata, dict) else {},
    )


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor
