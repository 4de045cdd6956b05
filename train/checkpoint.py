"""Checkpoints: what is in them, and writing them so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with enough around it to be exported or trained on."""

    model: str  # name in train.models
    classes: tuple[str, ...]
    weights: dict[str, Tensor]  # the averaged weights
    step: int
    training: dict[str, Any]  # the loop's own state; empty in a checkpoint that is only to be used
    provenance: dict[str, Any]  # fields of spec.Provenance
    palette: tuple[Rgb, ...] = ()  # one colour per class; empty where the data set names none
    unpainted: tuple[int, ...] = ()  # classes that are left out of pictures, such as a background


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, replacing it in one step."""
    record = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in Checkpoint.__slots__}}
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        torch.save(record, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`. Only tensors and plain values are read, never code.

    Raises: UsageError when there is no file, or it is not one of ours.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}; train one with solo-rt train")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader raise
        raise UsageError(f"{path} is not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(f"{path} is not a solo-rt checkpoint of format {FORMAT}")
    return Checkpoint(**{name: record[name] for name in Checkpoint.__slots__ if name in record})
