"""Checkpoints: what is in them, and writing them so that a kill at any moment leaves a whole one.

A checkpoint `x.pt` has its SHA-256 beside it in `x.pt.sha256`, in the form that `sha256sum -c` reads. A run keeps its
last few as `step-00000250.pt` in its folder; `last.pt` is a link to the newest and `best.pt` to the best measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_rt.decoders import Rgb
from solo_rt.errors import SinkError, UsageError
from solo_rt.files import file_sha256, replace_file, replaced_file
from solo_rt.spec import MEAN, STD

FORMAT = 2
READABLE = (1, 2)  # format 1 has another `training`: it can be exported and be started from, not resumed


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
    mean: tuple[float, float, float] = MEAN  # how pictures were normalised, RGB, 0..255
    std: tuple[float, float, float] = STD
    imgsz: tuple[int, int] | None = None  # height, width of the input that suits the weights; None: the network's own
    test_scale: tuple[int, int] | None = None  # longest and shortest side to measure at; None: those published


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, replacing it in one step; after a return it outlives a power cut.

    Raises: SinkError, leaving what was there, when it cannot be written.
    """
    record = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in Checkpoint.__slots__}}
    try:
        with replaced_file(path, durable=True) as part:
            with part.open("wb") as file:  # with a path, its name would be in the content
                torch.save(record, file)
            digest = f"{file_sha256(part)}  {path.name}\n"
            _digest_path(path).unlink(missing_ok=True)  # a kill leaves a file without a digest, not with a wrong one
        replace_file(_digest_path(path), digest.encode(), durable=True)
    except (OSError, RuntimeError) as error:  # torch turns what the file raises into RuntimeError
        raise SinkError(f"cannot write checkpoint {path}: {error}; free some space or choose another --out") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`. Only tensors and plain values are read, never code.

    Raises: UsageError when there is no file, it is not what was written, or it is not one of ours.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}; train one with solo-rt train")
    path = path.resolve()  # of `last.pt`, the file it is a link to
    digest = _digest_path(path)
    if digest.is_file() and digest.read_text(errors="replace").split()[:1] != [file_sha256(path)]:
        raise UsageError(f"{path} is damaged: its SHA-256 is not that in {digest.name}; use another checkpoint")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader raise
        raise UsageError(f"{path} is not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(record, dict) or record.get("format") not in READABLE:
        raise UsageError(f"{path} is not a solo-rt checkpoint of format {READABLE[0]} to {READABLE[-1]}")
    return Checkpoint(**{name: record[name] for name in Checkpoint.__slots__ if name in record})


def save_step(checkpoint: Checkpoint, folder: Path, *, keep: int, best: bool = False) -> Path:
    """Write the checkpoint of a run to its `folder` and return the path; `best` is whether it is the best so far.

    The newest `keep` are kept, and the best. Raises: SinkError.
    """
    path = folder / f"step-{checkpoint.step:08d}.pt"
    save_checkpoint(checkpoint, path)
    try:
        for name in ("last.pt", "best.pt") if best else ("last.pt",):
            with replaced_file(folder / name, durable=True) as link:
                link.symlink_to(path.name)
        for torn in folder.glob(".*.pt*.part"):  # of a run that was killed
            torn.unlink()
        for old in _steps(folder)[keep:]:
            if old.name != (folder / "best.pt").resolve().name:
                old.unlink()
                _digest_path(old).unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot keep the checkpoints of {folder} in order: {error}; choose another --out") from error
    return path


def newest_checkpoint(folder: Path, on_damaged: Callable[[str], None]) -> Path | None:
    """Return the newest whole checkpoint of a run, or None without any; `on_damaged(why)` hears of each passed over."""
    for path in _steps(folder):
        try:
            if not _digest_path(path).is_file():
                raise UsageError(f"{path} has no {_digest_path(path).name} beside it")
            load_checkpoint(path)
        except UsageError as error:
            on_damaged(str(error))
        else:
            return path
    return None


def holds_run(folder: Path) -> bool:
    """Return whether a run has left anything in `folder` that a new one would mix with."""
    return bool(_steps(folder)) or (folder / "last.pt").exists()


def _steps(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
