"""LikeLy-Journey/SegmenTron, which grew out of Tramac's code: Fast-SCNN, DeepLabv3+ on Xception and PSPNet."""

from __future__ import annotations

from solo_rt.train.importing.base import Rules, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, Weights, conv_bn, fcn_head, semantic_source, separable
from solo_rt.train.models.parts.aspp import WIDTH

HALF = (127.5, 127.5, 127.5)  # mean and standard deviation with Xception
LARGE = {19: (1025, 2049), 21: (480, 480)}  # of Cityscapes and VOC
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


def _deeplab() -> Rules:
    rules = {
        **layer("encoder", "backbone.stem.0", conv="conv1", norm="bn1"),
        **layer("encoder", "backbone.stem.1", conv="conv2", norm="bn2"),
        **conv_bn("head.aspp.aspp0", "aspp.branches.0"),
        **separable(r"head.aspp.aspp([123]).block", r"aspp.branches.\1", children=SEPARABLE),
        **conv_bn("head.aspp.image_pooling", "aspp.picture"),
        **conv_bn("head.aspp", "aspp.out.0"),
        **conv_bn("head.c1_block", "low"),
        **separable("head.block.0.block", "decoder.0", children=SEPARABLE),
        **separable("head.block.1.block", "decoder.2", children=SEPARABLE),
        **module("head.block.2", "decoder.4"),
        **fcn_head("auxlayer.block", "aux"),
    }
    blocks = [*(f"entry.{i}" for i in range(3)), *(f"middle.{i}" for i in range(16)), "exit"]
    for number, block in enumerate(blocks, 1):
        rules |= conv_bn(f"encoder.block{number}", f"backbone.{block}.shortcut")
        for i in range(3):
            theirs, ours = f"encoder.block{number}.sep_conv{i + 1}.block", f"backbone.{block}.convolutions.{i}"
            rules |= layer(theirs, f"{ours}.1", conv="depthwise", norm="bn_depth")
            rules |= layer(theirs, f"{ours}.2", conv="pointwise", norm="bn_point")
    for i in range(3):
        rules |= separable(f"encoder.block21.sep_conv{i + 1}.block", f"backbone.final.{i}", children=SEPARABLE)
    return rules


def _picture_last(weights: Weights) -> None:
    """Reorder the channels that are mixed: there the mean of the picture comes before the dilations."""
    mixed = "aspp.out.0.0.weight"
    if mixed in weights:
        weights[mixed] = weights[mixed].roll(-WIDTH, dims=1)


PSPNET = {
    r"encoder\.((conv1|bn1|layer\d)\..+)": r"backbone.\1",
    r"encoder\.fc\..+": "",
    **conv_bn(r"head.psp.convs.(\d)", r"head.0.branches.\1"),
    **layer("head.block", "head.0.out"),
    **module("head.block.4", "head.2"),
    **fcn_head("auxlayer.block", "aux"),
}

NETWORKS = (
    Network(
        "learning_to_downsample.conv.conv.weight",
        ("fast-scnn-segmentron",),
        "classifier.3.bias",
        _fast_scnn(),
        sizes=FULL_SIZE,
    ),
    Network(
        "head.aspp.aspp0.conv.weight",
        ("deeplabv3-plus-x65",),
        "decoder.4.weight",
        _deeplab(),
        amend=_picture_last,
        normalised=lambda _: (HALF, HALF),
        sizes=LARGE,
    ),
    Network("head.psp.convs.0.conv.weight", ("pspnet-r50", "pspnet-r101"), "head.2.weight", PSPNET, sizes=LARGE),
)

SEGMENTRON = semantic_source("segmentron", "Apache-2.0 (LikeLy-Journey/SegmenTron)", NETWORKS)
