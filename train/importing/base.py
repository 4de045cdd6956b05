"""The seam between a code base and the import: how its files are recognised, and what they hold in our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.importing.class_names import COCO, Classes
from solo_rt.train.importing.weights_file import WeightsFile

Triple = tuple[float, float, float]
Rules = dict[str, str]
"""From a regular expression, for a whole name, to the name it has here; an empty one leaves the tensor out."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file holds, in the names of `models`, reading RGB."""

    models: tuple[str, ...]  # names of the networks it may be of, at least one
    num_classes: int
    weights: dict[str, Tensor]
    unexpected: tuple[str, ...] = ()  # tensors of the file, in its names, that have none here
    mean: Triple = MEAN  # of the pictures it was trained on, RGB, 0..255
    std: Triple = STD
    imgsz: tuple[int, int] | None = None  # height and width of pictures that it was tested on, where that is known
    known: tuple[Classes, ...] = (COCO,)  # what classes are called where there are as many
    training_only: tuple[str, ...] = ()  # beginnings of names of parts that only training needs; a file may lack them


@dataclass(frozen=True, slots=True)
class Source:
    """A code base whose weights can be imported."""

    name: str
    licence: str  # of the published weights
    recognises: Callable[[Mapping[str, Tensor]], bool]
    translate: Callable[[WeightsFile], Imported]  # raises UsageError for a file that it cannot be about


def has(name: str) -> Callable[[Mapping[str, Tensor]], bool]:
    """Return a function that says whether there is a tensor called `name` among others."""
    return lambda weights: name in weights


def rename(weights: Mapping[str, Tensor], rules: Rules) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors by the names that the first rule about each gives, and the names that no rule is about.

    Raises: UsageError when tensors that get the same name differ.
    """
    renamed: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    unexpected = []
    for name, tensor in weights.items():
        found = next((match.expand(new) for old, new in rules.items() if (match := re.fullmatch(old, name))), None)
        if found is None:
            unexpected.append(name)
        elif found:
            first = origins.setdefault(found, name)
            if first != name and not torch.equal(renamed[found], tensor):
                raise UsageError(
                    f"expected {first} and {name} to be the same, being two names of one tensor, got two that differ; "
                    "leave the wrong one out"
                )
            renamed[found] = tensor
    return renamed, tuple(unexpected)


def module(theirs: str, ours: str) -> Rules:
    """Return the rule about the tensors of one module; `theirs` is a regular expression in which dots are dots."""
    return {theirs.replace(".", r"\.") + r"\.(?P<tensor>\w+)": ours + r".\g<tensor>"}


def layer(theirs: str, ours: str, *, conv: str = "0", norm: str = "1") -> Rules:
    """Return the rules about a convolution and the normalisation behind it, which are children 0 and 1 of `ours`."""
    return {**module(f"{theirs}.{conv}", f"{ours}.0"), **module(f"{theirs}.{norm}", f"{ours}.1")}
