"""CoinCheung/BiSeNet: BiSeNet V1 as published since July 2021, on Cityscapes, ADE20K and COCO-Stuff."""

from __future__ import annotations

from solo_rt.train.importing.base import Rules, Triple, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, conv_bn, semantic_source

# Mean and std of each data set, RGB, 0..1, by number of classes; any other is taken for a user's own data set, for
# which the code base has the last pair.
MEASURED = {
    19: ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
    150: ((0.49343230, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
    171: ((0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
}
OWN = ((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))


def _normalised(num_classes: int) -> tuple[Triple, Triple]:
    (r, g, b), (sr, sg, sb) = MEASURED.get(num_classes, OWN)
    return (255 * r, 255 * g, 255 * b), (255 * sr, 255 * sg, 255 * sb)


def _classifier(theirs: str, ours: str) -> Rules:
    return {**conv_bn(f"{theirs}.conv", f"{ours}.0"), **module(f"{theirs}.conv_out", f"{ours}.2")}


RULES = {
    r"cp\.resnet\.((conv1|bn1|layer\d)\..+)": r"backbone.\1",
    **conv_bn("sp.conv1", "spatial.0"),
    **conv_bn("sp.conv2", "spatial.1"),
    **conv_bn("sp.conv3", "spatial.2"),
    **conv_bn("sp.conv_out", "spatial.3"),
    **conv_bn("cp.conv_avg", "picture"),
    **conv_bn("cp.arm32.conv", "refine5.conv"),
    **conv_bn("cp.arm16.conv", "refine4.conv"),
    **layer("cp.arm32", "refine5.gate", conv="conv_atten", norm="bn_atten"),
    **layer("cp.arm16", "refine4.gate", conv="conv_atten", norm="bn_atten"),
    **conv_bn("cp.conv_head32", "smooth5"),
    **conv_bn("cp.conv_head16", "smooth4"),
    **conv_bn("ffm.convblk", "fusion.mix"),
    **conv_bn("ffm", "fusion.gate"),
    **_classifier("conv_out", "head"),
    **_classifier("conv_out32", "aux.0"),  # which reads the map at 1/16
    **_classifier("conv_out16", "aux.1"),
}

NETWORKS = (
    Network(
        "cp.resnet.conv1.weight",
        ("bisenet-r18-coincheung",),
        "head.2.weight",
        RULES,
        normalised=_normalised,
        sizes=FULL_SIZE,
    ),
)

COINCHEUNG = semantic_source("coincheung", "MIT (CoinCheung/BiSeNet)", NETWORKS)
