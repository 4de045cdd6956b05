"""PyTorch-Encoding of zhanghang1989: FCN and EncNet on ResNets with the deep stem, and those ResNets alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.importing.base import Imported
from solo_rt.train.importing.semantic import Network, fcn_head, semantic_source
from solo_rt.train.importing.tramac_zoo import ENCNET, RESNET
from solo_rt.train.importing.weights_file import WeightsFile

BACKBONE = "conv1.6.weight"  # the last convolution of the deep stem
AUX = fcn_head("auxlayer.conv5", "aux")
SIZES = {150: (480, 480)}  # of ADE20K

NETWORKS = (
    Network(
        "head.encmodule.encoding.3.codewords",
        ("encnet-r50s", "encnet-r101s"),
        "classifier.1.weight",
        {**ENCNET, **AUX},
        told_by="auxlayer.conv5.4.weight",  # or it may be of Tramac, who squares the factors
        training_only=("aux.", "presence."),
        sizes=SIZES,
    ),
    Network(
        "head.conv5.4.weight",
        ("fcn-r50s", "fcn-r101s"),
        "head.2.weight",
        {**RESNET, **fcn_head("head.conv5", "head"), **AUX},
        sizes=SIZES,
    ),
)
_NETWORKS = semantic_source("encoding", "MIT (zhanghang1989/PyTorch-Encoding)", NETWORKS)


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    return BACKBONE in weights or _NETWORKS.recognises(weights)


def _translate(file: WeightsFile) -> Imported:
    if BACKBONE in file.weights:
        raise UsageError(
            "this is a backbone, not a network that finds anything; it needs no import: train pspnet-r50s or another "
            "network whose name ends in s with solo-rt train --model NAME --backbone-weights FILE"
        )
    return _NETWORKS.translate(file)


ENCODING = replace(_NETWORKS, recognises=_recognises, translate=_translate)
