"""Names that other code bases give the modules of semantic networks, read off their sources, one module a line.

A line is `ours = theirs`; a range in braces stands for as many lines, those of both sides counted together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from solo_rt.train import importing
from solo_rt.train.importing.weights_file import WeightsFile
from solo_rt.train.models import build_model

State = dict[str, Tensor]

TENSORS = {  # of modules, that are called otherwise there
    ("head.encmodule.encoding.3", "factors"): "scale",
    ("head.pam", "strength"): "alpha",
    ("head.cam", "strength"): "beta",
}


def module_names(table: str) -> dict[str, str]:
    """Return what each of our modules is called there."""
    lines = chain.from_iterable(_expand(line) for line in table.splitlines() if line.strip())
    pairs = [tuple(part.strip() for part in line.split("=")) for line in lines]
    assert len(dict(pairs)) == len(pairs), "a module has two names"
    return dict(pairs)


def _expand(line: str) -> list[str]:
    ranges = [range(int(first), int(last) + 1) for first, last in re.findall(r"\{(\d+)-(\d+)\}", line)]
    if not ranges:
        return [line]
    pattern = re.sub(r"\{\d+-\d+\}", "{}", line)
    return [pattern.format(*numbers) for numbers in zip(*ranges, strict=True)]


def renamed_modules(state: Mapping[str, Tensor], table: str) -> State:
    """Return the tensors by the names they have there; each must have one, and no two the same."""
    names = module_names(table)
    theirs = {}
    for key, value in state.items():
        module, _, tensor = key.rpartition(".")
        theirs[f"{names[module]}.{TENSORS.get((names[module], tensor), tensor)}"] = value
    assert len(theirs) == len(state)
    return theirs


def resnet(theirs: str, depths: tuple[int, int, int, int], *, convs: int, deep_stem: bool = False) -> str:
    """Return the lines about a ResNet called `theirs`, with torchvision's names or the stem of PyTorch-Encoding."""
    stem = ["conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6"] if deep_stem else ["conv1"]
    names = [*stem, "bn1"]
    for stage, depth in enumerate(depths, 1):
        if stage > 1 or convs == 3:
            names += [f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"]
        for block in range(depth):
            names += [f"layer{stage}.{block}.{part}{i}" for part in ("conv", "bn") for i in range(1, convs + 1)]
    return "\n".join(f"backbone.{name} = {theirs}.{name}" for name in names)


def numbered(model: str, classes: int) -> State:
    """Return a state dict of the network in which each tensor has a number of its own; it takes no memory."""
    with torch.device("meta"):
        state = build_model(model, classes).state_dict()
    return {key: torch.tensor(float(i)).expand(value.shape) for i, (key, value) in enumerate(state.items(), 1)}


def trained(model: str, classes: int, seed: int = 0) -> nn.Module:
    """Return the network with statistics as if trained, so that nothing in it is neutral."""
    torch.manual_seed(seed)
    network = build_model(model, classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


def as_published(model: str, classes: int, table: str) -> tuple[State, State]:
    """Return a numbered state dict of ours, and what a file there has for the same network.

    That is not only other names: tensors come twice, or are of no use, and some have another shape or value.
    """
    ours = numbered(model, classes)
    ours |= {key: torch.ones(()) for key in ours if key.endswith(".temperature")}
    theirs = renamed_modules({key: value for key, value in ours.items() if not key.endswith(".temperature")}, table)
    if "pretrained.layer1.0.conv1.weight" in theirs:
        theirs["pretrained.fc.bias"] = torch.zeros(1000)
    if "pretrained.features.conv0.weight" in theirs:
        theirs["pretrained.classifier.bias"] = torch.zeros(1000)
    if "score_pool4.weight" in theirs:  # parts of the backbone have a name of their own
        names = ("pool3.0", "pool4.0") if "score_pool3.weight" in theirs else ("pool4.0", "pool4.17")
        parts = {names[0]: "pretrained.0", names[1]: "pretrained.17", "pool5.0": "pretrained.24"}
        theirs |= {f"{new}.{t}": theirs[f"{old}.{t}"] for new, old in parts.items() for t in ("weight", "bias")}
    for key in [key for key in theirs if ".f_key." in key]:  # keys are queries too
        theirs[key.replace(".f_key.", ".f_query.")] = theirs[key]
    for layer in UNBIASED_OCNET:
        if "head.out.weight" in theirs and f"{layer}.weight" in theirs:
            theirs[f"{layer}.bias"] = torch.zeros(len(theirs[f"{layer}.weight"]))
    scale = "head.encmodule.encoding.3.scale"
    if scale in theirs and "auxlayer.block.4.weight" in theirs:
        theirs[scale] = theirs[scale].sqrt()
    for key in [key for key in theirs if ".f_glo.fc." in key and key.endswith("weight")]:
        theirs[key] = theirs[key][:, :, 0, 0]
    return ours, theirs


UNBIASED_OCNET = (  # convolutions that have a bias there and none here, as normalisation follows
    "head.context.3.stages.0.f_key.0",
    "head.context.3.stages.1.f_key.0",
    "head.context.3.up_dr.0",
    "head.context.3.project.0",
    "head.context.context.0",
    "head.context.context.3.stages.0.f_key.0",
    "head.context.context.3.project.0",
)


def keep_in_memory(patch: pytest.MonkeyPatch, state: State) -> None:
    """Make `state` what the next import finds in its file."""
    patch.setattr(importing, "read_weights_file", lambda _path: WeightsFile(state, {}))


TRAMAC_BOTTLENECKS = "".join(
    f"""
    deep.{i}.block.0.{{0-1}} = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.block.0.conv.{{0-1}}
    deep.{i}.block.1.{{0-1}} = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.block.1.conv.{{0-1}}
    deep.{i}.block.2.{{0-1}} = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.block.{{2-3}}"""
    for i in range(9)
)
TRAMAC_FAST_SCNN = f"""{TRAMAC_BOTTLENECKS}
    shallow.0.{{0-1}} = learning_to_downsample.conv.conv.{{0-1}}
    shallow.1.0.{{0-1}} = learning_to_downsample.dsconv1.conv.{{0-1}}
    shallow.1.1.{{0-1}} = learning_to_downsample.dsconv1.conv.{{3-4}}
    shallow.2.0.{{0-1}} = learning_to_downsample.dsconv2.conv.{{0-1}}
    shallow.2.1.{{0-1}} = learning_to_downsample.dsconv2.conv.{{3-4}}
    deep.9.branches.{{0-3}}.0 = global_feature_extractor.ppm.conv{{1-4}}.conv.0
    deep.9.branches.{{0-3}}.1 = global_feature_extractor.ppm.conv{{1-4}}.conv.1
    deep.9.out.{{0-1}} = global_feature_extractor.ppm.out.conv.{{0-1}}
    fusion.depthwise.{{0-1}} = feature_fusion.dwconv.conv.{{0-1}}
    fusion.deep.{{0-1}} = feature_fusion.conv_lower_res.{{0-1}}
    fusion.shallow.{{0-1}} = feature_fusion.conv_higher_res.{{0-1}}
    classifier.0.0.{{0-1}} = classifier.dsconv1.conv.{{0-1}}
    classifier.0.1.{{0-1}} = classifier.dsconv1.conv.{{3-4}}
    classifier.1.0.{{0-1}} = classifier.dsconv2.conv.{{0-1}}
    classifier.1.1.{{0-1}} = classifier.dsconv2.conv.{{3-4}}
    classifier.3 = classifier.conv.1
    aux.0.0.{{0-1}} = auxlayer.{{0-1}}
    aux.0.2 = auxlayer.4
"""

LEFTTHOMAS_BOTTLENECKS = "".join(
    f"""
    deep.{first + i}.block.0.{{0-1}} = global_feature_extractor.{stage}_block.{i}.conv.{{0-1}}
    deep.{first + i}.block.1.{{0-1}} = global_feature_extractor.{stage}_block.{i}.conv.{{3-4}}
    deep.{first + i}.block.2.{{0-1}} = global_feature_extractor.{stage}_block.{i}.conv.{{6-7}}"""
    for first, stage in ((0, "first"), (3, "second"), (6, "third"))
    for i in range(3)
)
LEFTTHOMAS_FAST_SCNN = f"""{LEFTTHOMAS_BOTTLENECKS}
    shallow.0.0 = learning_to_down_sample.conv.conv
    shallow.0.1 = learning_to_down_sample.conv.bn
    shallow.{{1-2}}.0.0 = learning_to_down_sample.dsconv{{1-2}}.0
    shallow.{{1-2}}.0.1 = learning_to_down_sample.dsconv{{1-2}}.1
    shallow.{{1-2}}.1.0 = learning_to_down_sample.dsconv{{1-2}}.2
    shallow.{{1-2}}.1.1 = learning_to_down_sample.dsconv{{1-2}}.3
    deep.9.branches.{{0-3}}.0 = global_feature_extractor.ppm.stages.{{0-3}}.1.conv
    deep.9.branches.{{0-3}}.1 = global_feature_extractor.ppm.stages.{{0-3}}.1.bn
    deep.9.out.0 = global_feature_extractor.ppm.conv.conv
    deep.9.out.1 = global_feature_extractor.ppm.conv.bn
    fusion.depthwise.0 = feature_fusion.dwconv.conv
    fusion.depthwise.1 = feature_fusion.dwconv.bn
    fusion.deep.0 = feature_fusion.conv_low_res
    fusion.shallow.0 = feature_fusion.conv_high_res
    classifier.0.0.{{0-1}} = classifier.dsconv1.{{0-1}}
    classifier.0.1.{{0-1}} = classifier.dsconv1.{{2-3}}
    classifier.1.0.{{0-1}} = classifier.dsconv2.{{0-1}}
    classifier.1.1.{{0-1}} = classifier.dsconv2.{{2-3}}
    classifier.3 = classifier.conv
"""

SEGMENTRON_BOTTLENECKS = "".join(
    f"""
    deep.{i}.block.{{0-1}}.0 = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.conv.{{0-1}}.conv
    deep.{i}.block.{{0-1}}.1 = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.conv.{{0-1}}.bn
    deep.{i}.block.2.{{0-1}} = global_feature_extractor.bottleneck{i // 3 + 1}.{i % 3}.conv.{{2-3}}"""
    for i in range(9)
)
SEGMENTRON_FAST_SCNN = f"""{SEGMENTRON_BOTTLENECKS}
    shallow.0.0 = learning_to_downsample.conv.conv
    shallow.0.1 = learning_to_downsample.conv.bn
    shallow.{{1-2}}.0.0 = learning_to_downsample.dsconv{{1-2}}.block.depthwise
    shallow.{{1-2}}.0.1 = learning_to_downsample.dsconv{{1-2}}.block.bn_depth
    shallow.{{1-2}}.1.0 = learning_to_downsample.dsconv{{1-2}}.block.pointwise
    shallow.{{1-2}}.1.1 = learning_to_downsample.dsconv{{1-2}}.block.bn_point
    deep.9.branches.{{0-3}}.0 = global_feature_extractor.ppm.convs.{{0-3}}.conv
    deep.9.branches.{{0-3}}.1 = global_feature_extractor.ppm.convs.{{0-3}}.bn
    deep.9.out.0 = global_feature_extractor.out.conv
    deep.9.out.1 = global_feature_extractor.out.bn
    fusion.depthwise.0 = feature_fusion.dwconv.conv
    fusion.depthwise.1 = feature_fusion.dwconv.bn
    fusion.deep.{{0-1}} = feature_fusion.conv_lower_res.{{0-1}}
    fusion.shallow.{{0-1}} = feature_fusion.conv_higher_res.{{0-1}}
    classifier.{{0-1}}.0.0 = classifier.dsconv{{1-2}}.block.depthwise
    classifier.{{0-1}}.0.1 = classifier.dsconv{{1-2}}.block.bn_depth
    classifier.{{0-1}}.1.0 = classifier.dsconv{{1-2}}.block.pointwise
    classifier.{{0-1}}.1.1 = classifier.dsconv{{1-2}}.block.bn_point
    classifier.3 = classifier.conv.1
    aux.{{0-1}}.0.0 = auxlayer{{1-2}}.0
    aux.{{0-1}}.0.1 = auxlayer{{1-2}}.1
    aux.{{0-1}}.2 = auxlayer{{1-2}}.4
"""

COINCHEUNG_BISENET = (
    resnet("cp.resnet", (2, 2, 2, 2), convs=2)
    + """
    spatial.{0-2}.0 = sp.conv{1-3}.conv
    spatial.{0-2}.1 = sp.conv{1-3}.bn
    spatial.3.0 = sp.conv_out.conv
    spatial.3.1 = sp.conv_out.bn
    picture.0 = cp.conv_avg.conv
    picture.1 = cp.conv_avg.bn
    refine5.conv.0 = cp.arm32.conv.conv
    refine5.conv.1 = cp.arm32.conv.bn
    refine5.gate.0 = cp.arm32.conv_atten
    refine5.gate.1 = cp.arm32.bn_atten
    refine4.conv.0 = cp.arm16.conv.conv
    refine4.conv.1 = cp.arm16.conv.bn
    refine4.gate.0 = cp.arm16.conv_atten
    refine4.gate.1 = cp.arm16.bn_atten
    smooth5.0 = cp.conv_head32.conv
    smooth5.1 = cp.conv_head32.bn
    smooth4.0 = cp.conv_head16.conv
    smooth4.1 = cp.conv_head16.bn
    fusion.mix.0 = ffm.convblk.conv
    fusion.mix.1 = ffm.convblk.bn
    fusion.gate.0 = ffm.conv
    fusion.gate.1 = ffm.bn
    head.0.0 = conv_out.conv.conv
    head.0.1 = conv_out.conv.bn
    head.2 = conv_out.conv_out
    aux.0.0.0 = conv_out32.conv.conv
    aux.0.0.1 = conv_out32.conv.bn
    aux.0.2 = conv_out32.conv_out
    aux.1.0.0 = conv_out16.conv.conv
    aux.1.0.1 = conv_out16.conv.bn
    aux.1.2 = conv_out16.conv_out
"""
)

R50S = resnet("pretrained", (3, 4, 6, 3), convs=3, deep_stem=True)
AUX = """
    aux.0.{0-1} = auxlayer.block.{0-1}
    aux.2 = auxlayer.block.4
"""

ENC_HEAD = """
    squeeze.{0-1} = head.conv5.{0-1}
    encoding.0.{0-1} = head.encmodule.encoding.{0-1}
    encoding.1 = head.encmodule.encoding.3
    encoding.2 = head.encmodule.encoding.4
    gate = head.encmodule.fc.0
    presence = head.encmodule.selayer
    classifier.1 = head.conv6.1
"""
ENCODING_AUX = """
    aux.0.{0-1} = auxlayer.conv5.{0-1}
    aux.2 = auxlayer.conv5.4
"""
ENCODING_ENCNET = R50S + ENC_HEAD + ENCODING_AUX
ENCODING_FCN = (
    R50S
    + ENCODING_AUX
    + """
    head.0.{0-1} = head.conv5.{0-1}
    head.2 = head.conv5.4
"""
)

TORCHVISION_BODY = (
    resnet("backbone", (3, 4, 6, 3), convs=3)
    + """
    aux.0.{0-1} = aux_classifier.{0-1}
    aux.2 = aux_classifier.4
"""
)
TORCHVISION_FCN = (
    TORCHVISION_BODY
    + """
    head.0.{0-1} = classifier.{0-1}
    head.2 = classifier.4
"""
)
TORCHVISION_DEEPLABV3 = (
    TORCHVISION_BODY
    + """
    head.0.branches.{0-3}.0 = classifier.0.convs.{0-3}.0
    head.0.branches.{0-3}.1 = classifier.0.convs.{0-3}.1
    head.0.picture.{0-1} = classifier.0.convs.4.{1-2}
    head.0.out.0.{0-1} = classifier.0.project.{0-1}
    head.1.0.{0-1} = classifier.{1-2}
    head.1.2 = classifier.4
"""
)

SEPARABLE = (("depthwise", "bn_depth"), ("pointwise", "bn_point"))
XCEPTION_BLOCKS = [*(f"entry.{i}" for i in range(3)), *(f"middle.{i}" for i in range(16)), "exit"]
XCEPTION = "".join(
    f"""
    backbone.{block}.convolutions.{{0-2}}.{half + 1}.0 = encoder.block{number}.sep_conv{{1-3}}.block.{conv}
    backbone.{block}.convolutions.{{0-2}}.{half + 1}.1 = encoder.block{number}.sep_conv{{1-3}}.block.{norm}"""
    for number, block in enumerate(XCEPTION_BLOCKS, 1)
    for half, (conv, norm) in enumerate(SEPARABLE)
)
SEPARABLES = "".join(
    f"""
    {ours}.{half}.0 = {theirs}.block.{conv}
    {ours}.{half}.1 = {theirs}.block.{norm}"""
    for ours, theirs in (
        *((f"backbone.final.{i}", f"encoder.block21.sep_conv{i + 1}") for i in range(3)),
        *((f"aspp.branches.{i}", f"head.aspp.aspp{i}") for i in (1, 2, 3)),
        ("decoder.0", "head.block.0"),
        ("decoder.2", "head.block.1"),
    )
    for half, (conv, norm) in enumerate(SEPARABLE)
)
SEGMENTRON_DEEPLAB = (
    XCEPTION
    + SEPARABLES
    + AUX
    + """
    backbone.stem.{0-1}.0 = encoder.conv{1-2}
    backbone.stem.{0-1}.1 = encoder.bn{1-2}
    backbone.entry.{0-2}.shortcut.0 = encoder.block{1-3}.conv
    backbone.entry.{0-2}.shortcut.1 = encoder.block{1-3}.bn
    backbone.exit.shortcut.0 = encoder.block20.conv
    backbone.exit.shortcut.1 = encoder.block20.bn
    aspp.branches.0.0 = head.aspp.aspp0.conv
    aspp.branches.0.1 = head.aspp.aspp0.bn
    aspp.picture.0 = head.aspp.image_pooling.conv
    aspp.picture.1 = head.aspp.image_pooling.bn
    aspp.out.0.0 = head.aspp.conv
    aspp.out.0.1 = head.aspp.bn
    low.0 = head.c1_block.conv
    low.1 = head.c1_block.bn
    decoder.4 = head.block.2
"""
)
SEGMENTRON_PSPNET = (
    resnet("encoder", (3, 4, 23, 3), convs=3)
    + AUX
    + """
    head.0.branches.{0-3}.0 = head.psp.convs.{0-3}.conv
    head.0.branches.{0-3}.1 = head.psp.convs.{0-3}.bn
    head.0.out.{0-1} = head.block.{0-1}
    head.2 = head.block.4
"""
)
