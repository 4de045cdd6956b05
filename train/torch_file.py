"""Reading what torch.save wrote: tensors and plain values, never code, and never more than the file holds."""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from solo_rt.errors import UsageError


def read_torch_file(path: Path, *, stand_ins: Mapping[str, Callable[..., object]] | None = None) -> object:
    """Return what the file at `path` holds, on the CPU; `stand_ins` are called for what they are named after.

    Raises: UsageError when there is no such file, it is damaged or a bomb, or it cannot be read without running code.
    """
    try:
        _check_archive(path)
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in (stand_ins or {}).items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # torch raises whatever its unpickler and zip reader raise
        raise UsageError(f"{path}: {_explain(error)}") from error


def is_plain(value: object) -> bool:
    """Return whether a value is a tensor that has its elements, one by one."""
    return isinstance(value, Tensor) and not value.is_meta and value.layout == torch.strided


def _check_archive(path: Path) -> None:
    """Raise UsageError for an archive whose files claim more than it holds: torch.save compresses nothing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    size = path.stat().st_size
    if claimed > size:
        raise UsageError(
            f"{path}: expected an archive that is not compressed, as torch.save writes it, got {claimed} bytes in a "
            f"file of {size}; it is not unpacked"
        )


def _explain(error: Exception) -> str:
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code:
        return f"reading it needs code ({code[1]}), and none is ever run; save the network's state_dict() alone"
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:  # torch's of a file cut short
        return error.strerror
    return f"not a file that torch.save wrote, or not all of it ({type(error).__name__})"
