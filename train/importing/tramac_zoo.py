"""The networks of Tramac/awesome-semantic-segmentation-pytorch that ours compute alike.

It has published no weights; these are names in the files that its users have trained.
"""

from __future__ import annotations

import torch

from solo_rt.train.importing.base import Rules, layer, module
from solo_rt.train.importing.semantic import FULL_SIZE, Network, Weights, conv_bn, fcn_head
from solo_rt.train.models.dunet import STRIDE

RESNET = {r"pretrained\.((conv1|bn1|layer\d)\..+)": r"backbone.\1", r"pretrained\.fc\..+": ""}
AUX = fcn_head("auxlayer.block", "aux")
VGG_LAYERS = 31


def _depths(name: str) -> tuple[str, ...]:
    """Return our networks of this name: there, all ResNets have the deep stem."""
    return f"{name}-r50s", f"{name}-r101s"


def _classifier(theirs: str, ours: str) -> Rules:
    return {**conv_bn(f"{theirs}.block.0", f"{ours}.0"), **module(f"{theirs}.block.2", f"{ours}.2")}


BISENET = {
    r"context_path\.((conv1|bn1|layer\d)\..+)": r"backbone.\1",
    **conv_bn("spatial_path.conv7x7", "spatial.0"),
    **conv_bn(r"spatial_path.conv3x3_([12])", r"spatial.\1"),
    **conv_bn("spatial_path.conv1x1", "spatial.3"),
    **layer("context_path.global_context.gap", "picture", conv="1", norm="2"),
    **conv_bn("ffm.conv1x1", "fusion.mix"),
    **conv_bn("ffm.channel_attention.1", "fusion.gate.0"),
    **conv_bn("ffm.channel_attention.2", "fusion.gate.1"),
    **_classifier("head", "head"),
}
for _i, _stage in enumerate((5, 4)):
    BISENET |= conv_bn(f"context_path.arms.{_i}.conv3x3", f"refine{_stage}.conv")
    BISENET |= conv_bn(f"context_path.arms.{_i}.channel_attention.1", f"refine{_stage}.gate")
    BISENET |= conv_bn(f"context_path.refines.{_i}", f"smooth{_stage}")
    BISENET |= _classifier(f"auxlayer{_i + 1}", f"aux.{_i}")

ICNET = {
    **RESNET,
    **conv_bn(r"conv_sub1.([01])", r"quarter.\1"),
    **conv_bn("conv_sub1.2", "eighth"),
    **layer("head.cff_24.conv_low", "fuse16.coarse"),
    **layer("head.cff_24.conv_high", "fuse16.fine"),
    **module("head.cff_24.conv_low_cls", "fuse16.guide"),
    **layer("head.cff_12.conv_low", "fuse8.coarse"),
    **layer("head.cff_12.conv_high", "fuse8.fine"),
    **module("head.cff_12.conv_low_cls", "fuse8.guide"),
    **module("head.conv_cls", "classifier"),
}

DENSEASPP = {
    r"pretrained\.classifier\..+": "",
    r"pretrained\.features\.(.+)": r"backbone.features.\1",
    **module("head.block.1", "classifier.1"),
    **fcn_head("auxlayer.block", "aux.0"),
}
for _i, _dilation in enumerate((3, 6, 12, 18, 24)):
    _theirs = f"head.dense_aspp_block.aspp_{_dilation}"
    DENSEASPP |= layer(_theirs, f"stages.{_i}.0", conv="conv1", norm="bn1")
    DENSEASPP |= layer(_theirs, f"stages.{_i}.1", conv="conv2", norm="bn2")

ENCNET = {
    **RESNET,
    **layer("head.conv5", "squeeze"),
    **layer("head.encmodule.encoding", "encoding.0"),
    r"head\.encmodule\.encoding\.3\.codewords": "encoding.1.codewords",
    r"head\.encmodule\.encoding\.3\.scale": "encoding.1.factors",
    **module("head.encmodule.encoding.4", "encoding.2"),
    **module("head.encmodule.fc.0", "gate"),
    **module("head.encmodule.selayer", "presence"),
    **module("head.conv6.1", "classifier.1"),
}

DANET = {
    **RESNET,
    **layer("head.conv_p1", "branches.0.0"),
    **module("head.pam.conv_b", "branches.0.1.query"),
    **module("head.pam.conv_c", "branches.0.1.key"),
    **module("head.pam.conv_d", "branches.0.1.value"),
    r"head\.pam\.alpha": "branches.0.1.strength",
    **layer("head.conv_p2", "branches.0.2"),
    **layer("head.conv_c1", "branches.1.0"),
    r"head\.cam\.beta": "branches.1.1.strength",
    **layer("head.conv_c2", "branches.1.2"),
    **module("head.out.1", "classifier.1"),
    **module("head.conv_p3.1", "aux.0.1"),
    **module("head.conv_c3.1", "aux.1.1"),
}


def _context(theirs: str, ours: str) -> Rules:
    """Return the rules about one comparison of pixels; the layers of its queries are those of its keys."""
    return {
        **layer(f"{theirs}.f_(?:query|key)", f"{ours}.key"),
        **module(f"{theirs}.f_value", f"{ours}.value"),
        **module(f"{theirs}.W", f"{ours}.out"),
    }


OCNET = {
    **RESNET,
    **AUX,
    **layer("head.context", "head.0"),
    **_context(r"head.context.3.stages.(\d)", r"head.1.contexts.\1"),
    **layer("head.context.3.up_dr", "head.1.widen"),
    **layer("head.context.3.project", "head.1.mix.0"),
    **module("head.out", "head.2"),
}
OCNET_ASP = {
    **RESNET,
    **AUX,
    **layer("head.context.context", "head.0.branches.0.0"),
    **_context("head.context.context.3.stages.0", "head.0.branches.0.1.context"),
    **layer("head.context.context.3.project", "head.0.branches.0.1.mix.0"),
    **layer(r"head.context.b([1-4])", r"head.0.branches.\1"),
    **layer("head.context.project", "head.0.mix.0"),
    **module("head.out", "head.1"),
}

DUNET = {
    **RESNET,
    **layer("head.fuse.conv2", "low3"),
    **layer("head.fuse.conv3", "low4"),
    **layer("head.block", "fuse.0"),
    **layer("head.block", "fuse.1", conv="3", norm="4"),
    **module("dupsample.conv_w", "upsample.expand"),
    **layer("auxlayer.block", "aux.0"),
    **module("auxlayer.block.4", "aux.2"),
    **module("aux_dupsample.conv_w", "aux_upsample.expand"),
}

PSPNET = {
    **RESNET,
    **AUX,
    **layer("head.block", "head.0.out"),
    **module("head.block.4", "head.2"),
}
for _i in range(4):
    PSPNET |= layer(f"head.psp.conv{_i + 1}", f"head.0.branches.{_i}")

DEEPLABV3 = {
    **RESNET,
    **AUX,
    **layer("head.aspp.b0", "head.0.branches.0"),
    **layer(r"head.aspp.b([123]).block", r"head.0.branches.\1"),
    **layer("head.aspp.b4.gap", "head.0.picture", conv="1", norm="2"),
    **layer("head.aspp.project", "head.0.out.0"),
    **fcn_head("head.block", "head.1"),
}

FCN_VGG = {
    **module(r"pretrained.(\d+)", r"backbone.features.\1"),
    **fcn_head("head.block", "head"),
    **module("score_pool4", "scores.0"),
    **module("score_pool3", "scores.1"),
    **AUX,
}


def _parts(**starts: int) -> Rules:
    """Return the rules about parts of VGG16 that have a name of their own, by the first layer of each."""
    return {
        rule: name
        for part, first in starts.items()
        for i in range(VGG_LAYERS - first)
        for rule, name in module(f"{part}.{i}", f"backbone.features.{first + i}").items()
    }


FCN = {**RESNET, **AUX, **fcn_head("head.block", "head")}

CGNET = {
    **module("head.1", "classifier.1"),
}
for _i in (1, 2, 3):
    CGNET |= module(f"bn_prelu{_i}.bn", f"join{_i}.0") | module(f"bn_prelu{_i}.prelu", f"join{_i}.1")
for _theirs, _ours, _gate in (
    ("stage2_0", "down2", "3"),
    ("stage3_0", "down3", "3"),
    (r"(stage[23]).(\d+)", r"\1.\2.block", "2"),
):
    CGNET |= {
        **conv_bn(f"{_theirs}.conv", f"{_ours}.0"),
        **module(f"{_theirs}.conv.prelu", f"{_ours}.0.2"),
        **module(f"{_theirs}.f_loc.conv", f"{_ours}.1.near"),
        **module(f"{_theirs}.f_sur.conv", f"{_ours}.1.far"),
        **module(f"{_theirs}.bn", f"{_ours}.1.joint.0"),
        **module(f"{_theirs}.prelu", f"{_ours}.1.joint.1"),
        **module(f"{_theirs}.reduce", f"{_ours}.2"),
        **module(f"{_theirs}.f_glo.fc.0", f"{_ours}.{_gate}.gate.0"),
        **module(f"{_theirs}.f_glo.fc.2", f"{_ours}.{_gate}.gate.2"),
    }
CGNET |= conv_bn(r"stage1_([012])", r"stem.\1") | module(r"stage1_([012]).prelu", r"stem.\1.2")


def _square_factors(weights: Weights) -> None:
    """Take squares of the factors of distances: there, it is factors times differences that are squared."""
    if "encoding.1.factors" in weights:
        weights["encoding.1.factors"] = weights["encoding.1.factors"].square()


def _swap_map_and_context(weights: Weights) -> None:
    """Reorder the channels that are mixed, of the base form alone: there the context comes before the map itself.

    Also takes biases off means, see `_biases_into_means`.
    """
    mixed = "head.1.mix.0.0.weight"
    if mixed in weights and "head.1.widen.0.weight" not in weights:
        context, itself = weights[mixed].chunk(2, dim=1)
        weights[mixed] = torch.cat([itself, context], dim=1)
    _biases_into_means(weights)


def _biases_into_means(weights: Weights) -> None:
    """Take biases that a normalisation follows off the mean that it subtracts; there is none in our convolutions."""
    for mean in [key for key in weights if key.endswith(".1.running_mean")]:
        bias = weights.pop(mean.replace(".1.running_mean", ".0.bias"), None)
        if bias is not None:
            weights[mean] = weights[mean] - bias


def _order_pixels(weights: Weights) -> None:
    """Reorder logits of the pixels of a block: there the class is the fastest, then the column, then the row.

    There is no temperature.
    """
    for name in ("upsample", "aux_upsample"):
        if f"{name}.expand.weight" in weights:
            rows = weights[f"{name}.expand.weight"].unflatten(0, (STRIDE, STRIDE, -1))
            weights[f"{name}.expand.weight"] = rows.permute(2, 0, 1, 3, 4, 5).flatten(0, 2)
            weights[f"{name}.temperature"] = torch.ones(())


def _gates_as_convolutions(weights: Weights) -> None:
    """Give the matrices of gates the height and width of a kernel of one pixel."""
    for key, value in weights.items():
        if ".gate." in key and value.ndim == 2:
            weights[key] = value[:, :, None, None]


ZOO = (
    Network("spatial_path.conv7x7.conv.weight", ("bisenet-r18-tramac",), "head.2.weight", BISENET, sizes=FULL_SIZE),
    Network("conv_sub1.0.conv.weight", ("icnet-r50s",), "classifier.weight", ICNET, training_only=(), sizes=FULL_SIZE),
    Network(
        "head.dense_aspp_block.aspp_3.conv1.weight",
        ("denseaspp-d121-tramac", "denseaspp-d161-tramac"),
        "classifier.1.weight",
        DENSEASPP,
        sizes=FULL_SIZE,
    ),
    Network(
        "head.encmodule.encoding.3.codewords",
        _depths("encnet"),
        "classifier.1.weight",
        {**ENCNET, **AUX},
        amend=_square_factors,
        told_by="auxlayer.block.4.weight",  # or it may be of PyTorch-Encoding, which squares no factors
        training_only=("aux.", "presence."),
    ),
    Network("head.pam.alpha", _depths("danet"), "classifier.1.weight", DANET),
    Network(
        "head.context.3.stages.0.W.weight",
        (*_depths("ocnet-base"), *_depths("ocnet-pyramid")),
        "head.2.weight",
        OCNET,
        amend=_swap_map_and_context,
    ),
    Network(
        "head.context.context.0.weight", _depths("ocnet-asp"), "head.1.weight", OCNET_ASP, amend=_biases_into_means
    ),
    Network(
        "dupsample.conv_w.weight",
        _depths("dunet"),
        "upsample.expand.weight",
        DUNET,
        count=lambda weight: len(weight) // STRIDE**2,
        amend=_order_pixels,
        training_only=("aux.", "aux_upsample."),
    ),
    Network("head.psp.conv1.0.weight", _depths("pspnet"), "head.2.weight", PSPNET),
    Network("head.aspp.b0.0.weight", _depths("deeplabv3"), "head.1.2.weight", DEEPLABV3),
    Network("stage1_0.conv.weight", ("cgnet",), "classifier.1.weight", CGNET, amend=_gates_as_convolutions),
    Network("score_pool3.weight", ("fcn-8s",), "head.2.weight", {**FCN_VGG, **_parts(pool3=0, pool4=17, pool5=24)}),
    Network("score_pool4.weight", ("fcn-16s",), "head.2.weight", {**FCN_VGG, **_parts(pool4=0, pool5=24)}),
    Network("pretrained.28.weight", ("fcn-32s",), "head.2.weight", FCN_VGG),
    Network("head.block.4.weight", _depths("fcn"), "head.2.weight", FCN, told_by="pretrained.conv1.0.weight"),
)
