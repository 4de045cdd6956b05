"""Importing semantic networks: each tensor lands where it belongs, and the network computes what it computed there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import foreign_semantic as foreign
import foreign_zoo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from foreign_semantic import State, as_published, keep_in_memory, numbered, renamed_modules
from torch import Tensor, nn

from solo_rt.cli import main
from solo_rt.engine import open_engine
from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.data.semantic import ade20k, cityscapes, voc
from solo_rt.train.export import static_graph
from solo_rt.train.importing import import_weights
from solo_rt.train.importing.report import IncompleteWeightsError
from solo_rt.train.models import build_model
from solo_rt.train.models.dunet import DUpsampling
from solo_rt.train.models.encnet import Encoding
from solo_rt.train.models.ocnet import ContextPyramid

FILE = Path("weights.pth")
LEGENDS = {19: cityscapes.LEGEND, 21: voc.LEGEND, 150: ade20k.LEGEND}

# Source, our network, classes it was published for, and the names of its modules there.
PUBLISHED = [
    ("tramac", "fast-scnn-tramac", 19, foreign.TRAMAC_FAST_SCNN),
    ("tramac", "bisenet-r18-tramac", 19, foreign_zoo.TRAMAC_BISENET),
    ("tramac", "icnet-r50s", 19, foreign_zoo.TRAMAC_ICNET),
    ("tramac", "denseaspp-d121-tramac", 19, foreign_zoo.TRAMAC_DENSEASPP),
    ("tramac", "encnet-r50s", 150, foreign_zoo.TRAMAC_ENCNET),
    ("tramac", "danet-r50s", 19, foreign_zoo.TRAMAC_DANET),
    ("tramac", "ocnet-base-r50s", 19, foreign_zoo.TRAMAC_OCNET_BASE),
    ("tramac", "ocnet-pyramid-r50s", 19, foreign_zoo.TRAMAC_OCNET_PYRAMID),
    ("tramac", "ocnet-asp-r50s", 19, foreign_zoo.TRAMAC_OCNET_ASP),
    ("tramac", "dunet-r50s", 21, foreign_zoo.TRAMAC_DUNET),
    ("tramac", "pspnet-r50s", 21, foreign_zoo.TRAMAC_PSPNET),
    ("tramac", "deeplabv3-r50s", 21, foreign_zoo.TRAMAC_DEEPLABV3),
    ("tramac", "fcn-r50s", 21, foreign_zoo.TRAMAC_FCN),
    ("tramac", "fcn-32s", 21, foreign_zoo.TRAMAC_FCN32S),
    ("tramac", "fcn-16s", 21, foreign_zoo.TRAMAC_FCN16S),
    ("tramac", "fcn-8s", 21, foreign_zoo.TRAMAC_FCN8S),
    ("tramac", "cgnet", 19, foreign_zoo.TRAMAC_CGNET),
    ("leftthomas", "fast-scnn-leftthomas", 19, foreign.LEFTTHOMAS_FAST_SCNN),
    ("segmentron", "fast-scnn-segmentron", 19, foreign.SEGMENTRON_FAST_SCNN),
    ("segmentron", "deeplabv3-plus-x65", 19, foreign.SEGMENTRON_DEEPLAB),
    ("segmentron", "pspnet-r101", 19, foreign.SEGMENTRON_PSPNET),
    ("coincheung", "bisenet-r18-coincheung", 19, foreign.COINCHEUNG_BISENET),
    ("encoding", "encnet-r50s", 150, foreign.ENCODING_ENCNET),
    ("encoding", "fcn-r50s", 150, foreign.ENCODING_FCN),
    ("torchvision", "fcn-r50-torchvision", 21, foreign.TORCHVISION_FCN),
    ("torchvision", "deeplabv3-r50-torchvision", 21, foreign.TORCHVISION_DEEPLABV3),
]
FIRST = list({row[0]: row for row in reversed(PUBLISHED)}.values())  # of each code base


def of_each(rows: list[tuple[str, str, int, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("source", "model", "classes", "table"), rows, ids=[f"{row[0]} {row[1]}" for row in rows]
    )


every_published, every_source = of_each(PUBLISHED), of_each(FIRST)


# Names read in published files and sources, and ours.
EXCERPTS = {
    ("tramac", "fast-scnn-tramac"): {
        "learning_to_downsample.conv.conv.0.weight": "shallow.0.0.weight",
        "learning_to_downsample.dsconv2.conv.4.running_var": "shallow.2.1.1.running_var",
        "global_feature_extractor.bottleneck1.0.block.0.conv.0.weight": "deep.0.block.0.0.weight",
        "global_feature_extractor.bottleneck2.0.block.2.weight": "deep.3.block.2.0.weight",
        "global_feature_extractor.bottleneck3.2.block.3.bias": "deep.8.block.2.1.bias",
        "global_feature_extractor.ppm.conv4.conv.0.weight": "deep.9.branches.3.0.weight",
        "feature_fusion.conv_lower_res.0.bias": "fusion.deep.0.bias",
        "feature_fusion.conv_higher_res.0.bias": "fusion.shallow.0.bias",
        "classifier.dsconv2.conv.3.weight": "classifier.1.1.0.weight",
        "classifier.conv.1.weight": "classifier.3.weight",
        "auxlayer.4.bias": "aux.0.2.bias",
    },
    ("tramac", "pspnet-r50s"): {
        "pretrained.conv1.6.weight": "backbone.conv1.6.weight",
        "pretrained.layer3.5.bn3.running_var": "backbone.layer3.5.bn3.running_var",
        "head.psp.conv3.0.weight": "head.0.branches.2.0.weight",
        "head.block.1.bias": "head.0.out.1.bias",
        "head.block.4.weight": "head.2.weight",
        "auxlayer.block.0.weight": "aux.0.0.weight",
    },
    ("tramac", "deeplabv3-r50s"): {
        "head.aspp.b0.1.weight": "head.0.branches.0.1.weight",
        "head.aspp.b2.block.0.weight": "head.0.branches.2.0.weight",
        "head.aspp.b4.gap.2.running_mean": "head.0.picture.1.running_mean",
        "head.aspp.project.0.weight": "head.0.out.0.0.weight",
        "head.block.4.bias": "head.1.2.bias",
    },
    ("tramac", "danet-r50s"): {
        "head.conv_c2.1.running_mean": "branches.1.2.1.running_mean",
        "head.pam.conv_d.bias": "branches.0.1.value.bias",
        "head.pam.alpha": "branches.0.1.strength",
        "head.cam.beta": "branches.1.1.strength",
    },
    ("tramac", "icnet-r50s"): {
        "conv_sub1.2.bn.weight": "eighth.1.weight",
        "head.cff_24.conv_low_cls.weight": "fuse16.guide.weight",
        "head.cff_12.conv_high.0.weight": "fuse8.fine.0.weight",
    },
    ("tramac", "fcn-8s"): {"pretrained.28.bias": "backbone.features.28.bias", "score_pool3.weight": "scores.1.weight"},
    ("leftthomas", "fast-scnn-leftthomas"): {
        "learning_to_down_sample.conv.bn.weight": "shallow.0.1.weight",
        "learning_to_down_sample.dsconv1.2.weight": "shallow.1.1.0.weight",
        "global_feature_extractor.second_block.1.conv.3.weight": "deep.4.block.1.0.weight",
        "global_feature_extractor.third_block.0.conv.7.running_mean": "deep.6.block.2.1.running_mean",
        "global_feature_extractor.ppm.stages.2.1.conv.weight": "deep.9.branches.2.0.weight",
        "feature_fusion.conv_low_res.bias": "fusion.deep.0.bias",
        "classifier.dsconv2.3.weight": "classifier.1.1.1.weight",
        "classifier.conv.bias": "classifier.3.bias",
    },
    ("segmentron", "fast-scnn-segmentron"): {
        "learning_to_downsample.dsconv2.block.bn_point.weight": "shallow.2.1.1.weight",
        "global_feature_extractor.bottleneck2.0.conv.1.bn.running_mean": "deep.3.block.1.1.running_mean",
        "global_feature_extractor.bottleneck3.1.conv.2.weight": "deep.7.block.2.0.weight",
        "global_feature_extractor.ppm.convs.3.conv.weight": "deep.9.branches.3.0.weight",
        "global_feature_extractor.out.bn.weight": "deep.9.out.1.weight",
        "feature_fusion.dwconv.conv.weight": "fusion.depthwise.0.weight",
        "classifier.dsconv1.block.depthwise.weight": "classifier.0.0.0.weight",
        "auxlayer2.4.weight": "aux.1.2.weight",
    },
    ("coincheung", "bisenet-r18-coincheung"): {
        "cp.resnet.layer2.0.downsample.0.weight": "backbone.layer2.0.downsample.0.weight",
        "cp.arm16.bn_atten.running_var": "refine4.gate.1.running_var",
        "cp.conv_head32.conv.weight": "smooth5.0.weight",
        "sp.conv_out.bn.bias": "spatial.3.1.bias",
        "ffm.convblk.conv.weight": "fusion.mix.0.weight",
        "ffm.bn.weight": "fusion.gate.1.weight",
        "conv_out.conv_out.bias": "head.2.bias",
        "conv_out32.conv.conv.weight": "aux.0.0.0.weight",
    },
}


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


def logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = network.eval()(image).out
    return out


def image(seed: int = 1) -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def restored(state: State, model: str, classes: int, folder: Path) -> nn.Module:
    """Return our network with the weights of a file that holds `state`."""
    torch.save(state, folder / FILE)
    checkpoint, _ = import_weights(folder / FILE)
    assert checkpoint.model == model
    network = build_model(model, classes)
    network.load_state_dict(checkpoint.weights)
    return network


@every_published
def test_every_tensor_lands_in_its_place(
    source: str, model: str, classes: int, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = as_published(model, classes, table)
    keep_in_memory(monkeypatch, theirs)
    checkpoint, report = import_weights(FILE)
    assert (report.source, checkpoint.model) == (source, model)
    assert report.complete
    assert not report.initial
    assert checkpoint.weights.keys() == ours.keys()
    for key, value in ours.items():
        assert checkpoint.weights[key].shape == value.shape, key
        assert torch.allclose(checkpoint.weights[key], value), key


@pytest.mark.parametrize(("source", "model"), EXCERPTS)
def test_names_that_were_read_in_the_sources(source: str, model: str) -> None:
    classes, table = next(row[2:] for row in PUBLISHED if row[:2] == (source, model))
    ours, theirs = as_published(model, classes, table)
    excerpt = EXCERPTS[source, model]
    for their_name, our_name in excerpt.items():
        assert torch.equal(theirs[their_name], ours[our_name]), their_name


@every_source
def test_classes_and_colours_follow_from_how_many_there_are(
    source: str, model: str, classes: int, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, renamed_modules(numbered(model, classes), table))
    checkpoint, _ = import_weights(FILE, source=source)
    legend = LEGENDS[classes]
    assert (checkpoint.classes, checkpoint.palette) == (legend.classes, legend.palette)
    assert checkpoint.unpainted == legend.unpainted
    names = tuple(f"class {i}" for i in range(classes))
    checkpoint, _ = import_weights(FILE, source=source, classes=names)
    assert (checkpoint.classes, checkpoint.palette, checkpoint.unpainted) == (names, (), ())


@every_source
def test_a_file_that_lacks_a_tensor_or_has_another_is_refused(
    source: str, model: str, classes: int, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = renamed_modules(numbered(model, classes), table)
    counters = {key for key in theirs if key.endswith("num_batches_tracked")}
    lacking = next(key for key in list(theirs)[8:] if key not in counters)
    keep_in_memory(monkeypatch, {key: value for key, value in theirs.items() if key != lacking})
    with pytest.raises(IncompleteWeightsError, match="1 missing"):
        import_weights(FILE, source=source)
    keep_in_memory(monkeypatch, {**theirs, "head.extra.weight": torch.zeros(1)})
    with pytest.raises(IncompleteWeightsError, match="1 unexpected"):
        import_weights(FILE, source=source)
    keep_in_memory(monkeypatch, {key: value for key, value in theirs.items() if key not in counters})
    assert import_weights(FILE, source=source)[1].complete
    assert counters


def without(state: State, *beginnings: str) -> State:
    return {key: value for key, value in state.items() if not key.startswith(beginnings)}


def test_a_classifier_for_training_alone_may_be_absent_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = renamed_modules(numbered("fast-scnn-tramac", 19), foreign.TRAMAC_FAST_SCNN)
    keep_in_memory(monkeypatch, without(theirs, "auxlayer."))  # as published
    checkpoint, report = import_weights(FILE)
    assert report.complete
    assert report.initial == tuple(key for key in checkpoint.weights if key.startswith("aux."))
    assert len(report.initial) == 8
    assert "8 for training only as they are initially" in report.describe()
    fresh = checkpoint.weights["aux.0.0.0.weight"]
    assert (fresh.shape, fresh.device.type) == ((32, 64, 3, 3), "cpu")
    assert fresh.std() > 0
    assert torch.equal(fresh, import_weights(FILE)[0].weights["aux.0.0.0.weight"])
    keep_in_memory(monkeypatch, without(theirs, "auxlayer.4."))
    with pytest.raises(IncompleteWeightsError, match="2 missing"):
        import_weights(FILE)


@pytest.mark.parametrize(
    ("model", "table", "first", "second"),
    [
        ("fcn-8s", foreign_zoo.TRAMAC_FCN8S, "pretrained.17.weight", "pool4.0.weight"),
        ("fcn-16s", foreign_zoo.TRAMAC_FCN16S, "pretrained.17.weight", "pool4.17.weight"),
        (
            "ocnet-base-r50s",
            foreign_zoo.TRAMAC_OCNET_BASE,
            "head.context.3.stages.0.f_key.0.weight",
            "head.context.3.stages.0.f_query.0.weight",
        ),
    ],
)
def test_two_names_of_one_tensor_that_differ_are_refused(
    model: str, table: str, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theirs = as_published(model, 21, table)
    assert torch.equal(theirs[first], theirs[second])
    theirs[second] = theirs[second] + 1
    keep_in_memory(monkeypatch, theirs)
    with pytest.raises(UsageError, match=f"expected {first} and {second} to be the same"):
        import_weights(FILE)


def test_pooled_maps_of_leftthomas_come_before_the_map_itself(tmp_path: Path) -> None:
    theirs = renamed_modules(trained("fast-scnn-leftthomas", 19).state_dict(), foreign.LEFTTHOMAS_FAST_SCNN)
    network = restored(theirs, "fast-scnn-leftthomas", 19, tmp_path).eval()
    x = torch.randn(1, 128, 7, 9, generator=torch.Generator().manual_seed(2))
    prefix = "global_feature_extractor.ppm"

    def conv(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            theirs[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(F.conv2d(x, theirs[f"{name}.conv.weight"]), mean, var, weight, bias).relu()

    pooled = [
        F.interpolate(
            conv(f"{prefix}.stages.{i}.1", F.adaptive_avg_pool2d(x, bins)),
            size=(7, 9),
            mode="bilinear",
            align_corners=True,
        )
        for i, bins in enumerate((1, 2, 3, 6))
    ]
    expected = conv(f"{prefix}.conv", torch.cat([*pooled, x], dim=1))
    with torch.inference_mode():
        found = network.deep[-1](x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def weights_of(module: str, theirs: State, patch: pytest.MonkeyPatch) -> State:
    """Return what the import makes of a part of our network, by the names within that part."""
    keep_in_memory(patch, theirs)
    weights = import_weights(FILE)[0].weights
    return {key.removeprefix(f"{module}."): value for key, value in weights.items() if key.startswith(f"{module}.")}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_deeplab_of_segmentron_has_the_picture_first_and_other_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("deeplabv3-plus-x65", 19, foreign.SEGMENTRON_DEEPLAB)
    picture, *branches = (noise(256, 256, 1, 1, seed=i) for i in range(5))
    theirs["head.aspp.conv.weight"] = torch.cat([picture, *branches], dim=1)
    keep_in_memory(monkeypatch, theirs)
    checkpoint, _ = import_weights(FILE)
    assert torch.equal(checkpoint.weights["aspp.out.0.0.weight"], torch.cat([*branches, picture], dim=1))
    assert (checkpoint.mean, checkpoint.std, checkpoint.imgsz) == ((127.5,) * 3, (127.5,) * 3, (1025, 2049))


def test_tramac_squares_the_factors_of_distances_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("encnet-r50s", 150, foreign_zoo.TRAMAC_ENCNET)
    prefix = "head.encmodule.encoding.3"
    codewords, scale = 0.1 * noise(32, 512, seed=1), -torch.rand(32, generator=torch.Generator().manual_seed(2))
    theirs |= {f"{prefix}.codewords": codewords, f"{prefix}.scale": scale}
    encoding = Encoding(512, 32)
    encoding.load_state_dict(weights_of("encoding.1", theirs, monkeypatch))
    x = 0.1 * noise(1, 512, 3, 4, seed=3)
    differences = x.flatten(2).transpose(1, 2)[:, :, None] - codewords  # [1, N, 32, 512]
    shares = (scale[:, None] * differences).square().sum(3).softmax(2)
    with torch.inference_mode():
        torch.testing.assert_close(encoding(x), (shares[..., None] * differences).sum(1), rtol=1e-3, atol=1e-4)


def test_an_encnet_that_may_be_of_two_code_bases_is_of_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("encnet-r50s", 150, foreign_zoo.TRAMAC_ENCNET)
    keep_in_memory(monkeypatch, without(theirs, "auxlayer."))
    with pytest.raises(UsageError, match="no known code base"):
        import_weights(FILE)
    _, report = import_weights(FILE, source="tramac")
    assert {key.partition(".")[0] for key in report.initial} == {"aux"}


@pytest.mark.parametrize(
    ("table", "model"),
    [
        (foreign.R50S, "pspnet-r50s"),
        (foreign.resnet("", (2, 2, 2, 2), convs=2), "solov2"),
        (foreign_zoo.VGG16.replace("pretrained", "features"), "fcn-8s"),
    ],
)
def test_a_backbone_is_refused_with_what_it_is_for(table: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name.removeprefix("pretrained.").removeprefix(".") for name in foreign.module_names(table).values()]
    keep_in_memory(monkeypatch, {f"{name}.weight": torch.zeros(1) for name in names} | {"fc.bias": torch.zeros(1000)})
    with pytest.raises(UsageError, match=rf"a backbone.* it needs no import: train {model}.* --backbone-weights"):
        import_weights(FILE)


def test_ocnet_of_tramac_has_the_context_before_the_map_and_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("ocnet-base-r50s", 19, foreign_zoo.TRAMAC_OCNET_BASE)
    prefix = "head.context.3"
    for i, (name, shape) in enumerate(
        {
            "stages.0.f_key.0": (256, 512, 1, 1),
            "stages.0.f_value": (256, 512, 1, 1),
            "stages.0.W": (512, 256, 1, 1),
            "project.0": (512, 1024, 1, 1),
        }.items()
    ):
        theirs[f"{prefix}.{name}.weight"] = 0.05 * noise(*shape, seed=i)
        theirs[f"{prefix}.{name}.bias"] = noise(shape[0], seed=10 + i)
    for i, (name, width) in enumerate({"stages.0.f_key.1": 256, "project.1": 512}.items()):
        theirs |= {
            f"{prefix}.{name}.weight": 1 + 0.1 * noise(width, seed=20 + i),
            f"{prefix}.{name}.bias": noise(width, seed=30 + i),
            f"{prefix}.{name}.running_mean": noise(width, seed=40 + i),
            f"{prefix}.{name}.running_var": 1 + noise(width, seed=50 + i).square(),
        }
    theirs |= {key.replace(".f_key.", ".f_query."): value for key, value in theirs.items() if ".f_key." in key}

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, theirs[f"{prefix}.{name}.weight"], theirs[f"{prefix}.{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        parts = (theirs[f"{prefix}.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts).relu()

    x = noise(1, 512, 3, 4, seed=60)
    key = norm("stages.0.f_key.1", conv("stages.0.f_key.0", x)).flatten(2)
    shares = (key.transpose(1, 2) @ key / 16).softmax(2)
    context = (shares @ conv("stages.0.f_value", x).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (3, 4))
    expected = norm("project.1", conv("project.0", torch.cat([conv("stages.0.W", context), x], dim=1)))
    pyramid = ContextPyramid((1,), 256).eval()
    pyramid.load_state_dict(weights_of("head.1", theirs, monkeypatch))
    with torch.inference_mode():
        torch.testing.assert_close(pyramid(x), expected, rtol=1e-3, atol=1e-3)


def test_dunet_of_tramac_orders_the_pixels_of_a_block_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("dunet-r50s", 21, foreign_zoo.TRAMAC_DUNET)
    weight = noise(21 * 64, 256, 1, 1, seed=1)
    theirs["dupsample.conv_w.weight"] = weight
    x = noise(1, 256, 2, 3, seed=2)
    coarse = F.conv2d(x, weight).permute(0, 3, 2, 1).reshape(1, 3, 16, 168)  # as there, with width before height
    expected = coarse.permute(0, 2, 1, 3).reshape(1, 16, 24, 21).permute(0, 3, 1, 2)
    upsample = DUpsampling(21)
    upsample.load_state_dict(weights_of("upsample", theirs, monkeypatch))
    with torch.inference_mode():
        torch.testing.assert_close(upsample(x, torch.zeros(1, 3, 16, 24)), expected, rtol=1e-4, atol=1e-4)


def test_counts_that_thop_left_in_a_network_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = renamed_modules(numbered("fast-scnn-leftthomas", 19), foreign.LEFTTHOMAS_FAST_SCNN)
    counts = {
        f"{module}total_{what}": torch.zeros(1) for module in ("", "classifier.conv.") for what in ("ops", "params")
    }
    keep_in_memory(monkeypatch, theirs | counts)
    assert import_weights(FILE)[1].complete


@pytest.mark.parametrize(
    ("classes", "mean", "std"),
    [
        (19, (0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
        (150, (0.4934323, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
        (171, (0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
        (7, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)),
    ],
)
def test_coincheung_normalises_by_data_set(
    classes: int, mean: tuple[float, ...], std: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = renamed_modules(numbered("bisenet-r18-coincheung", classes), foreign.COINCHEUNG_BISENET)
    keep_in_memory(monkeypatch, theirs)
    names = tuple(f"class {i}" for i in range(classes))
    checkpoint, _ = import_weights(FILE, classes=names)
    np.testing.assert_allclose(checkpoint.mean, np.multiply(mean, 255))
    np.testing.assert_allclose(checkpoint.std, np.multiply(std, 255))


def test_an_unknown_number_of_classes_needs_names(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_in_memory(monkeypatch, renamed_modules(numbered("fast-scnn-tramac", 80), foreign.TRAMAC_FAST_SCNN))
    with pytest.raises(UsageError, match="does not name its 80 classes; give them with --classes"):
        import_weights(FILE)
    names = tuple(f"class {i}" for i in range(80))
    checkpoint, _ = import_weights(FILE, classes=names)
    assert (checkpoint.classes, checkpoint.imgsz) == (names, None)


@every_source
def test_a_file_of_one_code_base_is_refused_as_another_s(
    source: str, model: str, classes: int, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, renamed_modules(numbered(model, classes), table))
    for other in sorted({row[0] for row in PUBLISHED} - {source}):
        with pytest.raises(UsageError, match=r"expected the weights of one of .*; try another --from|no whole network"):
            import_weights(FILE, source=other)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_a_published_fast_scnn_is_imported_exported_and_runs(tmp_path: Path) -> None:
    network = trained("fast-scnn-tramac", 19)
    theirs = renamed_modules(network.state_dict(), foreign.TRAMAC_FAST_SCNN)
    torch.save({f"module.{key}": value for key, value in without(theirs, "auxlayer.").items()}, tmp_path / FILE)
    assert run("import-weights", tmp_path / FILE, "-o", tmp_path / "x.pt") == 0
    assert (
        run("export", tmp_path / "x.pt", "--imgsz", "64x96", "--output-kind", "logits", "-o", tmp_path / "x.onnx") == 0
    )
    engine = open_engine(tmp_path / "x.onnx", backend="onnxruntime", device="cpu")
    found = engine.infer({engine.spec.input.name: image().numpy()})["logits"]
    spec = engine.spec
    engine.close()
    expected = logits(network, image()).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert spec.classes == cityscapes.LEGEND.classes
    assert spec.decoder.palette == cityscapes.LEGEND.palette
    assert (spec.input.mean, spec.input.std) == (MEAN, STD)
    assert spec.provenance.licence == "Apache-2.0 (Tramac)"


def test_a_checkpoint_is_exported_at_the_size_it_was_tested_at(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_in_memory(monkeypatch, renamed_modules(numbered("fast-scnn-tramac", 19), foreign.TRAMAC_FAST_SCNN))
    checkpoint, _ = import_weights(FILE)
    assert checkpoint.imgsz == (1024, 2048)
    small = replace(checkpoint, imgsz=(64, 96))
    size = static_graph(small).spec.input
    assert (size.height, size.width) == (64, 96)
    size = static_graph(small, imgsz=(32, 64)).spec.input
    assert (size.height, size.width) == (32, 64)
