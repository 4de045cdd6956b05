"""Checkpoints: what is in them, and writing them so that a kill at any moment leaves a whole one.

A checkpoint `x.pt` ends with the SHA-256 of all before, as the comment of the zip archive that it is; that of the whole
is beside it in `x.pt.sha256`, in the form that `sha256sum -c` reads. A run keeps its last few as `step-00000250.pt` in
its folder; `last.pt` is a link to the newest and `best.pt` to the best measured.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_rt.decoders import Rgb
from solo_rt.errors import SinkError, UsageError
from solo_rt.files import replace_file, replaced_file
from solo_rt.spec import MEAN, STD, Provenance
from solo_rt.train.checkpoint_fields import check_fields, shown
from solo_rt.train.models import BUILDERS, build_model
from solo_rt.train.seal import read_seal, seal
from solo_rt.train.torch_file import read_torch_file

FORMAT = 3
READABLE = (1, 2, 3)  # format 1 has another `training`: it can be exported and be started from, not resumed
SEALED = 3  # the first format that ends with its SHA-256
LINKS = ("last.pt", "best.pt")  # to the newest, and to the best measured

log = logging.getLogger(__name__)


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
    grids: tuple[int, ...] | None = None  # cells along each side, by level; None: the network's own

    def __post_init__(self) -> None:
        check_fields({name: getattr(self, name) for name in Checkpoint.__slots__})


NEEDED = {field.name for field in fields(Checkpoint) if field.default is MISSING}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, replacing it in one step; after a return it outlives a power cut.

    Raises: SinkError, leaving what was there, when it cannot be written.
    """
    record = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in Checkpoint.__slots__}}
    try:
        with replaced_file(path, durable=True) as part:
            with part.open("w+b") as file:  # with a path, its name would be in the content
                torch.save(record, file)
                digest = seal(file)
            _digest_path(path).unlink(missing_ok=True)  # a kill leaves a file without a digest, not with a wrong one
        replace_file(_digest_path(path), f"{digest}  {path.name}\n".encode(errors="surrogateescape"), durable=True)
    except (OSError, RuntimeError) as error:  # torch turns what the file raises into RuntimeError
        raise SinkError(f"cannot write checkpoint {path}: {error}; free some space or choose another --out") from error


def load_checkpoint(path: Path, *, record: object = None) -> Checkpoint:
    """Return the checkpoint at `path`. Only tensors and plain values are read, never code.

    `record` is what the file holds, for who has read it already.
    Raises: UsageError when there is no file, it is not what was written, it is not one of ours, or its weights are not
    finite.
    """
    checkpoint, proven = _load(path, record)
    if not proven:
        log.warning("%s is of an older format and has no SHA-256 beside it: damage would go unnoticed", path)
    return checkpoint


def describe_checkpoint(path: Path) -> dict[str, object]:
    """Return the facts about the checkpoint at `path` as JSON values. Raises: UsageError, as `load_checkpoint`."""
    checkpoint = load_checkpoint(path)
    best = checkpoint.training.get("best")
    return {
        "name": checkpoint.model,
        "path": str(path),
        "bytes": path.stat().st_size,
        "parameters": sum(value.numel() for value in checkpoint.weights.values()),
        "classes": list(checkpoint.classes),
        "imgsz": checkpoint.imgsz,
        "grids": checkpoint.grids,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "step": checkpoint.step,
        "resumable": "recipe" in checkpoint.training,
        "best": best if isinstance(best, float) and math.isfinite(best) else None,  # of what was measured by then
        "provenance": {**asdict(Provenance()), **checkpoint.provenance},
    }


def network_shapes(model: str, num_classes: int, grids: tuple[int, ...] | None = None) -> dict[str, torch.Size]:
    """Return the shapes of all tensors of the network `model`, without making any. Raises: UsageError."""
    with torch.device("meta"):
        state: dict[str, Tensor] = build_model(model, num_classes, grids=grids).state_dict()
    return {key: value.shape for key, value in state.items()}


def not_finite(weights: Mapping[str, Tensor]) -> str:
    """Return what is wrong with weights of which some are infinite or no numbers; empty if all are finite."""
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    return f"expected finite weights, got others in {len(broken)} tensors, such as {broken[0]}" if broken else ""


def _load(path: Path, record: object = None) -> tuple[Checkpoint, bool]:
    """Return the checkpoint, and whether a SHA-256 says that it is what was written. Raises: UsageError."""
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}; train one with solo-rt train")
    path = path.resolve()  # of `last.pt`, the file it is a link to
    proven = _check_digests(path)
    try:
        record = read_torch_file(path) if record is None else record
    except UsageError as error:
        raise UsageError(
            f"not a readable checkpoint: {error}; for weights of others there is import-weights"
        ) from error
    version = record.get("format") if isinstance(record, dict) else None
    if not isinstance(record, dict) or version not in READABLE:
        expected = f"expected format {READABLE[0]} to {READABLE[-1]}, got {shown(version) if version else 'none'}"
        raise UsageError(
            f"{path} is not a solo-rt checkpoint: {expected}; if others made it, try solo-rt import-weights"
        )
    if version >= SEALED and not proven:
        raise UsageError(f"{path} is damaged: the SHA-256 at its end is missing; use another checkpoint")
    try:
        for name in NEEDED - record.keys():
            raise UsageError(f"expected {name}, there is none")
        checkpoint = Checkpoint(**{name: record[name] for name in Checkpoint.__slots__ if name in record})
        _check_weights(checkpoint)
    except UsageError as error:
        raise UsageError(f"{path} is not a solo-rt checkpoint: {error}") from error
    if broken := not_finite(checkpoint.weights):
        raise UsageError(f"{path}: {broken}; training went wrong, use an earlier checkpoint")
    return checkpoint, proven


def _check_weights(checkpoint: Checkpoint) -> None:
    """Raise UsageError unless the weights are those of the network."""
    if checkpoint.model not in BUILDERS:
        raise UsageError(f"expected a network that solo-rt knows, got {checkpoint.model!r}")
    own = network_shapes(checkpoint.model, len(checkpoint.classes), checkpoint.grids)
    found = checkpoint.weights
    wrong = {
        "missing": [key for key in own if key not in found],
        "unknown": [str(key) for key in found if key not in own],
        "of another shape": [key for key, shape in own.items() if key in found and found[key].shape != shape],
    }
    got = ", ".join(f"{len(keys)} {how} ({keys[0]} ...)" for how, keys in wrong.items() if keys)
    if got:
        raise UsageError(
            f"expected the {len(own)} tensors of {checkpoint.model} for {len(checkpoint.classes)} classes, got {got}"
        )


def save_step(checkpoint: Checkpoint, folder: Path, *, keep: int, best: bool = False) -> Path:
    """Write the checkpoint of a run to its `folder` and return the path; `best` is whether it is the best so far.

    The newest `keep` of the run up to here are kept, and the best, and what is later: a run whose last checkpoints
    were damaged began again before them. Raises: SinkError.
    """
    path = folder / _step_name(checkpoint.step)
    save_checkpoint(checkpoint, path)
    try:
        for name in LINKS if best else LINKS[:1]:
            with replaced_file(folder / name, durable=True) as link:
                link.symlink_to(path.name)
        for old in [other for other in _steps(folder) if other.name <= path.name][keep:]:
            if old.name != (folder / "best.pt").resolve().name:
                old.unlink()
                _digest_path(old).unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot keep the checkpoints of {folder} in order: {error}; choose another --out") from error
    return path


def newest_checkpoint(folder: Path, on_damaged: Callable[[str], None]) -> Path | None:
    """Return the newest whole checkpoint of a run, or None without any; `on_damaged(why)` hears of each passed over.

    `last.pt` and `best.pt` count where they are no links, as in a copy of a run. What a run that was killed left half
    written goes.
    """
    for torn in folder.glob(".*.pt*.part"):
        torn.unlink()
    copies = [path for path in map(folder.joinpath, LINKS) if path.is_file() and not path.is_symlink()]
    for path in [*_steps(folder), *copies]:
        try:
            _, proven = _load(path)
        except UsageError as error:
            on_damaged(str(error))
        else:
            if proven:
                return path
            on_damaged(f"{path} has no {_digest_path(path).name} beside it")
    return None


def holds_run(folder: Path) -> bool:
    """Return whether a run has left anything in `folder` that a new one would mix with."""
    return bool(_steps(folder)) or any((folder / name).exists() for name in LINKS)


def require_newest(checkpoint: Checkpoint, folder: Path) -> None:
    """Raise UsageError where the run in `folder` has got further than `checkpoint`, from which it is to go on."""
    newest = next(iter(_steps(folder)), None)
    if newest is not None and newest.name > _step_name(checkpoint.step):
        raise UsageError(
            f"{folder} already holds {newest.name}, later than the checkpoint of step {checkpoint.step} to go on from; "
            "choose another --out, or --resume auto to go on from the newest"
        )


def _step_name(step: int) -> str:
    return f"step-{step:08d}.pt"


def _steps(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check_digests(path: Path) -> bool:
    """Return whether there is a SHA-256, in the file or beside it. Raises: UsageError where it is another's."""
    is_true, digest = read_seal(path)
    beside = _digest_path(path)
    others = beside.is_file() and beside.read_text(errors="replace").split()[:1] != [digest]
    if others or is_true is False:
        raise UsageError(f"{path} is damaged: its SHA-256 is not the one that was written; use another checkpoint")
    return is_true is not None or beside.is_file()
