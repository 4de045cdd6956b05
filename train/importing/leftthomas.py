"""leftthomas/FastSCNN: Fast-SCNN, trained on Cityscapes."""

from __future__ import annotations

import torch

from solo_rt.train.importing.base import Rules, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, Weights, conv_bn, semantic_source, separable

MIXED = "deep.9.out.0.weight"  # what mixes the pyramid of pooled maps


def _fast_scnn() -> Rules:
    rules = {
        r"(.+\.)?total_(ops|params)": "",  # what thop counted, left in the network by older versions of it
        **conv_bn("learning_to_down_sample.conv", "shallow.0"),
        **conv_bn("global_feature_extractor.ppm.conv", "deep.9.out"),
        **conv_bn("feature_fusion.dwconv", "fusion.depthwise"),
        **module("feature_fusion.conv_low_res", "fusion.deep.0"),
        **module("feature_fusion.conv_high_res", "fusion.shallow.0"),
        **module("classifier.conv", "classifier.3"),
    }
    for i in range(2):
        plain = ("0", "1", "2", "3")
        rules |= separable(f"learning_to_down_sample.dsconv{i + 1}", f"shallow.{i + 1}", children=plain)
        rules |= separable(f"classifier.dsconv{i + 1}", f"classifier.{i}", children=plain)
    for i in range(4):
        rules |= conv_bn(f"global_feature_extractor.ppm.stages.{i}.1", f"deep.9.branches.{i}")
    for i in range(9):
        stage = ("first", "second", "third")[i // 3]
        for j in range(3):
            theirs = f"global_feature_extractor.{stage}_block.{i % 3}.conv"
            rules |= layer(theirs, f"deep.{i}.block.{j}", conv=f"{3 * j}", norm=f"{3 * j + 1}")
    return rules


def _map_before_pooled(weights: Weights) -> None:
    """Reorder the channels that are mixed: there the pooled maps come first and the map itself last."""
    if MIXED in weights:
        pooled, unpooled = weights[MIXED].chunk(2, dim=1)
        weights[MIXED] = torch.cat([unpooled, pooled], dim=1)


NETWORKS = (
    Network(
        "learning_to_down_sample.conv.conv.weight",
        ("fast-scnn-leftthomas",),
        "classifier.3.bias",
        _fast_scnn(),
        amend=_map_before_pooled,
        sizes=FULL_SIZE,
    ),
)

LEFTTHOMAS = semantic_source("leftthomas", "none given (leftthomas/FastSCNN)", NETWORKS)
