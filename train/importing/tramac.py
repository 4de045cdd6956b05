"""Tramac/Fast-SCNN-pytorch, and with it Tramac/awesome-semantic-segmentation-pytorch."""

from __future__ import annotations

from solo_rt.train.importing.base import Rules, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, fcn_head, semantic_source, separable
from solo_rt.train.importing.tramac_zoo import ZOO


def _fast_scnn() -> Rules:
    rules = {
        **layer("learning_to_downsample.conv.conv", "shallow.0"),
        **separable(r"learning_to_downsample.dsconv([12]).conv", r"shallow.\1"),
        **layer("global_feature_extractor.ppm.out.conv", "deep.9.out"),
        **layer("feature_fusion.dwconv.conv", "fusion.depthwise"),
        **layer("feature_fusion.conv_lower_res", "fusion.deep"),
        **layer("feature_fusion.conv_higher_res", "fusion.shallow"),
        **module("classifier.conv.1", "classifier.3"),
        **fcn_head("auxlayer", "aux.0"),
    }
    for i in range(2):
        rules |= separable(f"classifier.dsconv{i + 1}.conv", f"classifier.{i}")
    for i in range(4):
        rules |= layer(f"global_feature_extractor.ppm.conv{i + 1}.conv", f"deep.9.branches.{i}")
    for i in range(9):
        theirs, ours = f"global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.block", f"deep.{i}.block"
        rules |= layer(rf"{theirs}.([01]).conv", rf"{ours}.\1") | layer(theirs, f"{ours}.2", conv="2", norm="3")
    return rules


NETWORKS = (
    Network(
        "learning_to_downsample.conv.conv.0.weight",
        ("fast-scnn-tramac",),
        "classifier.3.bias",
        _fast_scnn(),
        sizes=FULL_SIZE,
    ),
    *ZOO,
)

TRAMAC = semantic_source("tramac", "Apache-2.0 (Tramac)", NETWORKS)
