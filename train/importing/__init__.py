"""Weights that other code bases published, as checkpoints of ours.

A code base is one `Source`: how its files are recognised, and what its tensors are called here. All else is common:
reading without ever running code, finding the network that a file is of, and refusing what does not fit it entirely.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from solo_rt.errors import SoloRTError, UsageError
from solo_rt.train.checkpoint import Checkpoint, network_shapes, not_finite
from solo_rt.train.importing.adet import ADET
from solo_rt.train.importing.base import Imported, Source
from solo_rt.train.importing.class_names import find_classes
from solo_rt.train.importing.coincheung import COINCHEUNG
from solo_rt.train.importing.encoding import ENCODING
from solo_rt.train.importing.leftthomas import LEFTTHOMAS
from solo_rt.train.importing.mmdet import MMDET
from solo_rt.train.importing.official import OFFICIAL
from solo_rt.train.importing.report import IncompleteWeightsError, Report
from solo_rt.train.importing.seed import SEED
from solo_rt.train.importing.segmentron import SEGMENTRON
from solo_rt.train.importing.torchvision import TORCHVISION
from solo_rt.train.importing.tramac import TRAMAC
from solo_rt.train.importing.weights_file import WeightsFile, read_weights_file
from solo_rt.train.models import build_model

SOURCES: tuple[Source, ...] = (
    *(OFFICIAL, MMDET, ADET, SEED),
    *(TRAMAC, LEFTTHOMAS, SEGMENTRON, COINCHEUNG, ENCODING, TORCHVISION),
)
COUNTER = "num_batches_tracked"  # of batch normalisation; of no use in a trained network, and left out by some


def import_weights(
    path: Path, *, source: str = "auto", classes: Sequence[str] | None = None
) -> tuple[Checkpoint, Report]:
    """Return the weights at `path` as a checkpoint, and what became of each tensor.

    `source` is the name of a code base, or auto to recognise it. `classes` names the classes where the file does not;
    without it, 80 of instances are taken for those of COCO, and those of pixels for Cityscapes' 19, VOC's 21 or
    ADE20K's 150. Classifiers that only training uses and a file lacks have their initial values.
    Raises: UsageError for a file that cannot be read or is of no known code base, or other classes than it has;
    IncompleteWeightsError unless the file fills a network of ours and nothing is left over.
    """
    file = read_weights_file(path)
    origin = _find_source(path, file, source)
    imported = _translated(path, file, origin)
    model, report = _best_fit(origin.name, imported)
    if not report.complete:
        raise IncompleteWeightsError(path, report)
    weights = _fill(model, imported, report)
    if broken := not_finite(weights):
        raise UsageError(f"{path}: {broken}; training went wrong, take an earlier file")
    found = find_classes(imported.num_classes, file.metadata, classes, imported.known)
    checkpoint = Checkpoint(
        model,
        found.names,
        weights,
        step=0,
        training={},
        provenance={"recipe": f"{origin.name} weights, {path.name}", "licence": origin.licence},
        palette=found.palette,
        unpainted=found.unpainted,
        mean=imported.mean,
        std=imported.std,
        imgsz=imported.imgsz,
    )
    return checkpoint, report


def _find_source(path: Path, file: WeightsFile, name: str) -> Source:
    known = ", ".join(source.name for source in SOURCES)
    for source in SOURCES:
        if source.name == name or (name == "auto" and source.recognises(file.weights)):
            return source
    if name == "auto":
        raise UsageError(
            f"{path}: no known code base has tensors called {', '.join(list(file.weights)[:3])}; known: {known}"
        )
    raise UsageError(f"--from {name}: expected auto or one of {known}")


def _translated(path: Path, file: WeightsFile, origin: Source) -> Imported:
    """Return what a file holds. Raises: UsageError, also where tensors are too small for what is done with them."""
    try:
        imported = origin.translate(file)
    except SoloRTError:
        raise
    except (TypeError, ValueError, IndexError, RuntimeError) as error:  # of torch, about a dimension
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{path}: expected the tensors of {origin.name}, got one of another shape: {reason}"
        ) from error
    if imported.num_classes < 1:
        raise UsageError(f"{path}: expected one class at least, got none")
    return imported


def _best_fit(source: str, imported: Imported) -> tuple[str, Report]:
    """Return the network that most of the tensors fit, and how they do; the first of equals."""
    reports = [_compare(source, model, imported) for model in imported.models]
    best = max(reports, key=lambda report: len(report.loaded) - report.strangers)
    return best.model, best


def _compare(source: str, model: str, imported: Imported) -> Report:
    own, found = network_shapes(model, imported.num_classes), imported.weights
    absent = tuple(part for part in imported.training_only if not any(key.startswith(part) for key in found))
    initial = tuple(key for key in own if key.startswith(absent))
    missing = own.keys() - found.keys() - set(initial)
    loaded = [key for key, shape in own.items() if key in found and found[key].shape == shape]
    return Report(
        source=source,
        model=model,
        loaded=tuple(loaded),
        missing=tuple(key for key in own if key in missing and not key.endswith(COUNTER)),
        unexpected=(*imported.unexpected, *(key for key in found if key not in own)),
        misshaped=tuple(
            f"{key}: expected {_size(shape)}, got {_size(found[key].shape)}"
            for key, shape in own.items()
            if key in found and found[key].shape != shape
        ),
        initial=initial,
    )


def _fill(model: str, imported: Imported, report: Report) -> dict[str, Tensor]:
    """Return all tensors of the network, those that a file need not have as they are before any training."""
    weights = {key: imported.weights.get(key, torch.tensor(0)) for key in network_shapes(model, imported.num_classes)}
    if report.initial:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # one file, one checkpoint
            fresh = build_model(model, imported.num_classes).state_dict()
        weights |= {key: fresh[key] for key in report.initial}
    return weights


def _size(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "scalar"
