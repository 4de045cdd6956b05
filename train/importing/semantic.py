"""What the sources of semantic networks share: which network a file is of, and what its classes are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.data.semantic import Legend, ade20k, cityscapes, voc
from solo_rt.train.importing.base import Imported, Rules, Source, Triple, layer, module, rename
from solo_rt.train.importing.class_names import Classes
from solo_rt.train.importing.weights_file import WeightsFile

Weights = dict[str, Tensor]


def _classes(legend: Legend) -> Classes:
    return Classes(legend.classes, legend.palette, legend.unpainted)


CITYSCAPES, VOC, ADE20K = (_classes(part.LEGEND) for part in (cityscapes, voc, ade20k))
FULL_SIZE = {len(CITYSCAPES.names): (1024, 2048)}  # Cityscapes' pictures, which nearly all are tested on unscaled


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a code base.

    `amend` changes what is not only called otherwise, in our names; it gets whatever a file had, not always a whole
    network.
    """

    marker: str  # in their names, a tensor that no network behind this one in the list has
    models: tuple[str, ...]  # ours that it may be
    classifier: str  # in our names, the tensor of the main logits whose first dimension is that of classes
    rules: Rules
    count: Callable[[Tensor], int] = len  # from that tensor to the number of classes
    amend: Callable[[Weights], None] | None = None
    told_by: str | None = None  # in their names, a tensor without which the code base cannot be told from another
    training_only: tuple[str, ...] = ("aux.",)
    normalised: Callable[[int], tuple[Triple, Triple]] = lambda _: (MEAN, STD)  # mean and std by number of classes
    sizes: Mapping[int, tuple[int, int]] | None = None  # height and width of a test, by number of classes


def semantic_source(name: str, licence: str, networks: tuple[Network, ...]) -> Source:
    """Return the source of a code base that has `networks`."""
    return Source(name, licence, partial(_holds, networks), partial(_translate, networks))


def _holds(networks: tuple[Network, ...], weights: Mapping[str, Tensor]) -> bool:
    network = _find(networks, weights)
    return network is not None and (network.told_by is None or network.told_by in weights)


def _find(networks: tuple[Network, ...], weights: Mapping[str, Tensor]) -> Network | None:
    return next((network for network in networks if network.marker in weights), None)


def _translate(networks: tuple[Network, ...], file: WeightsFile) -> Imported:
    """Return what a file of one of `networks` holds. Raises: UsageError when it is of none."""
    network = _find(networks, file.weights)
    weights, unexpected = rename(file.weights, network.rules if network else {})
    if network is None or network.classifier not in weights:
        known = ", ".join(dict.fromkeys(name for network in networks for name in network.models))
        raise UsageError(f"expected the weights of one of {known}, found those of none; try another --from")
    num_classes = network.count(weights[network.classifier])
    if network.amend:
        network.amend(weights)
    mean, std = network.normalised(num_classes)
    return Imported(
        network.models,
        num_classes,
        weights,
        unexpected,
        mean=mean,
        std=std,
        imgsz=(network.sizes or {}).get(num_classes),
        known=(CITYSCAPES, VOC, ADE20K),
        training_only=network.training_only,
    )


def conv_bn(theirs: str, ours: str) -> Rules:
    """Return the rules about a convolution and its normalisation that are called conv and bn there."""
    return layer(theirs, ours, conv="conv", norm="bn")


def separable(theirs: str, ours: str, *, children: tuple[str, str, str, str] = ("0", "1", "3", "4")) -> Rules:
    """Return the rules about a depthwise and a pointwise convolution and what normalises each, `children` of theirs."""
    depthwise, norm, pointwise, last = children
    return {
        **layer(theirs, f"{ours}.0", conv=depthwise, norm=norm),
        **layer(theirs, f"{ours}.1", conv=pointwise, norm=last),
    }


def fcn_head(theirs: str, ours: str) -> Rules:
    """Return the rules about a 3x3 convolution, its normalisation, and a classifier behind ReLU and dropout."""
    return {**layer(theirs, f"{ours}.0"), **module(f"{theirs}.4", f"{ours}.2")}
