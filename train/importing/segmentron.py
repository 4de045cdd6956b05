"""LikeLy-Journey/SegmenTron, which grew out of Tramac's code: Fast-SCNN."""

from __future__ import annotations

from solo_rt.train.importing.base import Rules, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, conv_bn, fcn_head, semantic_source, separable

SEPARABLE = ("depthwise", "bn_depth", "pointwise", "bn_point")


def _fast_scnn() -> Rules:
    rules = {
        **conv_bn("learning_to_downsample.conv", "shallow.0"),
        **separable(r"learning_to_downsample.dsconv([12]).block", r"shallow.\1", children=SEPARABLE),
        **conv_bn(r"global_feature_extractor.ppm.convs.(\d)", r"deep.9.branches.\1"),
        **conv_bn("global_feature_extractor.out", "deep.9.out"),
        **conv_bn("feature_fusion.dwconv", "fusion.depthwise"),
        **layer("feature_fusion.conv_lower_res", "fusion.deep"),
        **layer("feature_fusion.conv_higher_res", "fusion.shallow"),
        **module("classifier.conv.1", "classifier.3"),
    }
    for i in range(2):
        rules |= separable(f"classifier.dsconv{i + 1}.block", f"classifier.{i}", children=SEPARABLE)
        rules |= fcn_head(f"auxlayer{i + 1}", f"aux.{i}")
    for i in range(9):
        theirs, ours = f"global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.conv", f"deep.{i}.block"
        rules |= conv_bn(rf"{theirs}.([01])", rf"{ours}.\1") | layer(theirs, f"{ours}.2", conv="2", norm="3")
    return rules


NETWORKS = (
    Network(
        "learning_to_downsample.conv.conv.weight",
        ("fast-scnn-segmentron",),
        "classifier.3.bias",
        _fast_scnn(),
        sizes=FULL_SIZE,
    ),
)

SEGMENTRON = semantic_source("segmentron", "Apache-2.0 (LikeLy-Journey/SegmenTron)", NETWORKS)
