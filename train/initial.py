"""Weights to start from: another checkpoint, or a backbone trained on ImageNet or by us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint
from solo_rt.train.models import build_model
from solo_rt.train.torch_file import is_plain, read_torch_file

BACKBONE = "backbone."
STEM = f"{BACKBONE}conv1.weight"  # what reads the picture in all SOLO networks
UNUSED = ("fc.", "classifier.")  # ImageNet classifiers, which no backbone of ours has
DOTTED = re.compile(r"(?<=\.)(norm|conv)\.(?=[12]\.)")  # norm.1 is norm1, in the files of DenseNets, which are old


@dataclass(frozen=True, slots=True)
class Fit:
    """What became of each tensor."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of the model, not in the file: they keep their initial values
    unexpected: tuple[str, ...]  # in the file, not of the model
    misshaped: tuple[str, ...]
    renewed: tuple[str, ...]  # depend on the classes, which are others

    def describe(self) -> str:
        """Return one line with the counts, and the names where there are few."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        for what in ("renewed", "missing", "unexpected", "misshaped"):
            names = getattr(self, what)
            if names:
                parts.append(f"{len(names)} {what} ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})")
        return ", ".join(parts)


def start_from(path: Path, model: nn.Module, *, name: str, classes: tuple[str, ...]) -> Fit:
    """Give `model`, the network `name` for `classes`, what fits of the checkpoint at `path`, and return what did.

    With other classes, or the same in another order, whatever depends on their number keeps its initial values.
    Raises: UsageError when nothing fits, the file is none of ours, or it reads pictures that are normalised otherwise
    in a way that its weights cannot make up for.
    """
    checkpoint = load_checkpoint(path)
    weights = _renormalised(path, checkpoint)
    renewed = class_tensors(name) if tuple(checkpoint.classes) != classes else frozenset()
    fit = _fit(model, weights, renewed=renewed)
    if not fit.loaded:
        raise UsageError(f"--init {path}: nothing in this {checkpoint.model} fits a {name}")
    return fit


def load_backbone(path: Path, model: nn.Module) -> Fit:
    """Give `model.backbone` the weights at `path`, and return what did.

    They are a state dict with torchvision's names, or those of the backbone in a checkpoint of ours.
    Raises: UsageError when the model has no backbone, the file cannot be read, or a tensor of the backbone is missing
    or of another shape.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise UsageError("--backbone-weights: this model has no backbone of its own; use --init")
    state = read_torch_file(path)
    if isinstance(state, dict) and "format" in state:
        weights = _renormalised(path, load_checkpoint(path, record=state))
        state = {key.removeprefix(BACKBONE): value for key, value in weights.items() if key.startswith(BACKBONE)}
    if not isinstance(state, dict) or not all(map(is_plain, state.values())):
        raise UsageError(
            f"--backbone-weights {path}: expected a checkpoint or a dictionary of tensors, as torchvision's"
        )
    state = {DOTTED.sub(r"\1", key): value for key, value in state.items() if not key.startswith(UNUSED)}
    fit = _fit(backbone, state)
    lacking = [key for key in (*fit.missing, *fit.misshaped) if not key.endswith("num_batches_tracked")]
    if lacking or fit.unexpected:
        raise UsageError(f"--backbone-weights {path} is another backbone's: {fit.describe()}")
    return fit


def _renormalised(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return weights that compute from pictures as training normalises them what `checkpoint` does from its own.

    The first convolution makes up for another standard deviation exactly, padding being 0 in either case. It cannot
    for another mean: that would change the padding.
    """
    weights = checkpoint.weights
    if (checkpoint.mean, checkpoint.std) == (MEAN, STD):
        return weights
    reading = [key for key, value in weights.items() if value.ndim == 4 and value.shape[1] == len(MEAN)]
    if checkpoint.mean != MEAN or reading != [STEM]:
        raise UsageError(
            f"{path}: expected pictures normalised by mean {MEAN} and std {STD}, "
            f"it reads {checkpoint.mean} and {checkpoint.std}; start from another checkpoint"
        )
    factors = torch.tensor(STD) / torch.tensor(checkpoint.std)
    return {**weights, STEM: weights[STEM] * factors[:, None, None]}


def class_tensors(name: str) -> frozenset[str]:
    """Return which tensors of the network `name` depend on the number of classes."""
    with torch.device("meta"):  # shapes without memory
        few, many = (build_model(name, count).state_dict() for count in (2, 3))
    return frozenset(key for key, value in few.items() if value.shape != many[key].shape)


def _fit(model: nn.Module, state: dict[str, Tensor], *, renewed: frozenset[str] = frozenset()) -> Fit:
    own = model.state_dict()
    known = {key: value for key, value in state.items() if key in own and key not in renewed}
    fitting = {key: value for key, value in known.items() if value.shape == own[key].shape}
    model.load_state_dict(fitting, strict=False)
    return Fit(
        loaded=tuple(fitting),
        missing=tuple(key for key in own if key not in state and key not in renewed),
        unexpected=tuple(key for key in state if key not in own),
        misshaped=tuple(key for key in known if key not in fitting),
        renewed=tuple(key for key in own if key in renewed),
    )
