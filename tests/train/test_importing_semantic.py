"""Importing semantic networks: each tensor lands where it belongs, and the network computes what it computed there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import foreign_semantic as foreign
import foreign_zoo
import numpy as np
import pytest
import torch
from command_line import Solo
from foreign_semantic import State, as_published, keep_in_memory, numbered, renamed_modules, trained
from torch import Tensor, nn

from solo_rt.engine import open_engine
from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.data.semantic import ade20k, cityscapes, voc
from solo_rt.train.export import static_graph
from solo_rt.train.importing import import_weights
from solo_rt.train.importing.report import IncompleteWeightsError

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


def logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = network.eval()(image).out
    return out


def image(seed: int = 1) -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


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


def test_counts_that_thop_left_in_a_network_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = renamed_modules(numbered("fast-scnn-leftthomas", 19), foreign.LEFTTHOMAS_FAST_SCNN)
    counts = {
        f"{module}total_{what}": torch.zeros(1) for module in ("", "classifier.conv.") for what in ("ops", "params")
    }
    keep_in_memory(monkeypatch, theirs | counts)
    assert import_weights(FILE)[1].complete


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


@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 1, 1, 1)])
@of_each([row for row in PUBLISHED if row[1] in ("dunet-r50s", "ocnet-base-r50s", "fast-scnn-leftthomas")])
def test_tensors_of_another_shape_are_no_crash(
    source: str, model: str, classes: int, table: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theirs = as_published(model, classes, table)
    keep_in_memory(monkeypatch, {key: torch.zeros(shape) for key in theirs})
    with pytest.raises(UsageError, match=r"one of another shape|one class at least|no whole network"):
        import_weights(FILE, source=source)


def test_a_published_fast_scnn_is_imported_exported_and_runs(tmp_path: Path, solo: Solo) -> None:
    network = trained("fast-scnn-tramac", 19)
    theirs = renamed_modules(network.state_dict(), foreign.TRAMAC_FAST_SCNN)
    torch.save({f"module.{key}": value for key, value in without(theirs, "auxlayer.").items()}, tmp_path / FILE)
    assert solo("import-weights", tmp_path / FILE, "-o", tmp_path / "x.pt")[0] == 0
    options = ("--imgsz", "64x96", "--output-kind", "logits")
    assert solo("export", tmp_path / "x.pt", *options, "-o", tmp_path / "x.onnx")[0] == 0
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
