"""Importing weights of other code bases: nothing is run, nothing is left over, what comes in computes the same."""

from __future__ import annotations

import argparse
import datetime
import json
import zipfile
from collections import OrderedDict, defaultdict
from dataclasses import replace
from pathlib import Path, PosixPath, PureWindowsPath

import foreign
import numpy as np
import pytest
import torch
from command_line import Solo
from foreign import Trained, assert_same_outputs, renamed, train_small
from torch import Tensor

from solo_rt.engine import open_engine
from solo_rt.errors import UsageError
from solo_rt.train.checkpoint import load_checkpoint, save_checkpoint
from solo_rt.train.importing import SOURCES, import_weights
from solo_rt.train.importing.report import IncompleteWeightsError
from solo_rt.train.importing.weights_file import read_weights_file
from solo_rt.train.models import build_model

CLASSES = ("ant", "bee", "cow")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    return train_small(monkeypatch, "solov2")


@pytest.fixture
def official(trained: Trained) -> dict[str, Tensor]:
    return renamed(trained.state, foreign.official(trained.state))


def test_a_published_solov2_computes_here_what_it_computed_there(
    trained: Trained, official: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({"meta": {"CLASSES": CLASSES}, "state_dict": official, "optimizer": {"state": {}}}, tmp_path / "x.pth")
    checkpoint, report = import_weights(tmp_path / "x.pth")
    assert (report.source, report.model, checkpoint.model) == ("official", trained.name, trained.name)
    assert set(report.loaded) == set(trained.state)
    assert checkpoint.classes == CLASSES
    assert "non-commercial" in checkpoint.provenance["licence"]
    assert_same_outputs(checkpoint, trained)


@pytest.mark.parametrize(
    "wrap", ["bare", "state_dict", "model", "ema", "module", "compiled", "lightning", "legacy", "half"]
)
def test_weights_are_found_in_whatever_they_are_wrapped(wrap: str, official: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    wrong = {key: torch.full_like(value, 7) for key, value in official.items()}
    if wrap in ("bare", "legacy"):
        torch.save(OrderedDict(official), path, _use_new_zipfile_serialization=wrap == "bare")
    elif wrap == "module":  # of DistributedDataParallel, and of an average of it
        torch.save({"state_dict": {f"module.module.{key}": value for key, value in official.items()}}, path)
    elif wrap == "compiled":  # by torch.compile, within the former or around it
        torch.save({f"module._orig_mod.{key}": value for key, value in official.items()}, path)
    elif wrap == "lightning":
        state = {f"model.{key}": value for key, value in official.items()}
        torch.save({"state_dict": state, "pytorch-lightning_version": "2.4", "callbacks": {}}, path)
    elif wrap == "ema":
        torch.save({"ema": official, "model": wrong, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 4}, path)
    elif wrap == "half":
        torch.save({key: value.half() if value.is_floating_point() else value for key, value in official.items()}, path)
    else:
        torch.save({wrap: official, "optimizer": {}, "iteration": 90000}, path)
    found = read_weights_file(path).weights
    assert found.keys() == official.keys()
    for key, value in found.items():
        assert value.dtype == official[key].dtype
        assert torch.equal(value, official[key].half().to(value.dtype) if wrap == "half" else official[key])


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_not_in_floating_point_are_refused(
    kind: torch.dtype, official: dict[str, Tensor], tmp_path: Path
) -> None:
    name = "bbox_head.solo_kernel.weight"
    torch.save({**official, name: official[name].to(kind)}, tmp_path / "x.pth")
    with pytest.raises(UsageError, match=f"floating point, got {kind} in 1 tensors, such as {name}; take the file"):
        import_weights(tmp_path / "x.pth", classes=CLASSES)


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(50_000)}, tmp_path / "x.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:5000])
    (tmp_path / "x.safetensors").touch()
    for name, message in (("cut.pth", "or not all of it"), ("x.safetensors", "got safetensors; make one with")):
        with pytest.raises(UsageError, match=message):
            read_weights_file(tmp_path / name)


def test_metadata_with_numpy_scalars_is_read_around(official: dict[str, Tensor], tmp_path: Path) -> None:
    meta = {"hook_msgs": {"best_score": np.float64(0.296), "last": np.int64(36)}, "epoch": 36, "CLASSES": CLASSES}
    torch.save({"meta": meta, "state_dict": official}, tmp_path / "x.pth")
    torch.save({"meta": meta, "state_dict": official}, tmp_path / "y.pth", _use_new_zipfile_serialization=False)
    for name in ("x.pth", "y.pth"):
        assert read_weights_file(tmp_path / name).metadata["CLASSES"] == CLASSES


def test_innocent_metadata_is_read_around(official: dict[str, Tensor], tmp_path: Path) -> None:
    meta = {
        "time": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
        "took": datetime.timedelta(hours=3),
        "args": argparse.Namespace(lr=0.1, out=PosixPath("/x"), seen={1, 2}),
        "windows": PureWindowsPath("c:/x"),
        "history": defaultdict(list, loss=[np.float32(1), 2.0]),
        "array": np.arange(3),
        "order": OrderedDict(a=1),
        "range": range(3),
        "CLASSES": CLASSES,
    }
    for zipped in (True, False):
        torch.save({"meta": meta, "state_dict": official}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        file = read_weights_file(tmp_path / "x.pth")
        assert file.weights.keys() == official.keys()
        assert file.metadata["CLASSES"] == CLASSES
        assert not isinstance(file.metadata["time"], datetime.datetime)
        assert not isinstance(file.metadata["args"], argparse.Namespace)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code was run",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pth"
    for record in ({"meta": Malicious(), "state_dict": {}}, Malicious()):
        torch.save(record, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UsageError, match=r"x.pth: reading it needs code \(print\), and none is ever run"):
            import_weights(path)
    torch.save(torch.nn.Linear(1, 1), path, _use_new_zipfile_serialization=zipped)  # a whole network, as some save it
    with pytest.raises(UsageError, match=r"needs code \(torch.nn.modules.linear.Linear\).*state_dict"):
        import_weights(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_tensor_that_claims_more_than_its_file_is_never_made(dtype: torch.dtype, tmp_path: Path) -> None:
    claim = torch.zeros(1, dtype=dtype).expand(40_000_000_000)
    torch.save({"fc.weight": claim}, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").stat().st_size < 2000
    with pytest.raises(UsageError, match=r"expected weights that fit a file of \d+ bytes, got tensors of 160000000000"):
        import_weights(tmp_path / "x.pth")


def test_an_archive_that_unpacks_to_more_than_it_is_is_never_unpacked(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1 << 20)}, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as plain,
        zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(UsageError, match=r"y.pth: expected an archive that is not compressed.*it is not unpacked"):
        import_weights(tmp_path / "y.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, official: dict[str, Tensor], tmp_path: Path) -> None:
    name = "bbox_head.solo_kernel.bias"
    torch.save({**official, name: torch.full_like(official[name], value)}, tmp_path / "x.pth")
    with pytest.raises(UsageError, match=r"expected finite weights, got others in 1 tensors, such as head\.solo"):
        import_weights(tmp_path / "x.pth", classes=CLASSES)


def test_files_that_hold_no_weights_are_refused(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(UsageError, match=r"no file .*x.pth; download"):
        import_weights(path)
    torch.save(official, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UsageError, match="not all of it"):
        import_weights(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UsageError, match=r"not a file that torch\.save wrote"):
        import_weights(path)
    for record, found in (
        ({}, "dict"),
        ([1], "list"),
        ({"state_dict": {"a": 1}}, "also a"),
        ({"epoch": 3, "w": torch.zeros(1)}, "also epoch"),
        ({"state_dict": {"w": np.float64(1)}}, "also w"),
    ):
        torch.save(record, path)
        with pytest.raises(UsageError, match=rf"expected tensors by name.*found {found}"):
            import_weights(path)
    torch.save({"encoder.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"no known code base has tensors called encoder.weight; known: official"):
        import_weights(path)
    with pytest.raises(UsageError, match="expected a SOLO network"):
        import_weights(path, source="official")
    with pytest.raises(UsageError, match="--from yolact: expected auto or one of official"):
        import_weights(path, source="yolact")


def refusal(path: Path) -> IncompleteWeightsError:
    with pytest.raises(IncompleteWeightsError) as refused:
        import_weights(path)
    return refused.value


def test_less_than_everything_is_refused_with_a_list(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({key: value for key, value in official.items() if "kernel_convs.1.gn" not in key}, path)
    error = refusal(path)
    assert error.report.missing == ("head.kernel_convs.1.1.weight", "head.kernel_convs.1.1.bias")
    assert f"{len(official) - 2} tensors of small loaded, 2 missing" in str(error)
    assert "\n" not in str(error)
    assert error.report.listing().splitlines()[0] == "missing: head.kernel_convs.1.1.weight"

    torch.save({**official, "bbox_head.extra.weight": torch.zeros(1), "backbone.conv9.weight": torch.zeros(1)}, path)
    assert refusal(path).report.unexpected == ("bbox_head.extra.weight", "backbone.conv9.weight")

    torch.save({**official, "bbox_head.solo_kernel.bias": torch.zeros(9)}, path)
    assert refusal(path).report.misshaped == ("head.solo_kernel.bias: expected 8, got 9",)

    counters = [key for key in official if key.endswith("num_batches_tracked")]
    torch.save({key: value for key, value in official.items() if key not in counters}, path)
    checkpoint, report = import_weights(path, classes=CLASSES)
    assert counters
    assert not report.missing
    build_model(checkpoint.model, 3).load_state_dict(checkpoint.weights)


def test_classes_are_those_given_those_stored_or_those_of_coco(
    trained: Trained, official: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    torch.save(official, path)
    assert import_weights(path, classes=CLASSES)[0].classes == CLASSES
    for names, message in ((None, "does not name its 3 classes; give them with --classes"), (("a", "b"), "expected 3")):
        with pytest.raises(UsageError, match=message):
            import_weights(path, classes=names)
    with pytest.raises(UsageError, match="3 distinct names"):
        import_weights(path, classes=("a", "a", "b"))
    torch.save({"meta": {"CLASSES": list(CLASSES)}, "state_dict": official}, path)
    assert import_weights(path)[0].classes == CLASSES
    many = dict(official)
    many["bbox_head.solo_cate.weight"] = torch.zeros(80, *official["bbox_head.solo_cate.weight"].shape[1:])
    many["bbox_head.solo_cate.bias"] = torch.zeros(80)
    torch.save(many, path)
    names = import_weights(path)[0].classes
    assert (len(names), names[0], names[79]) == (80, "person", "toothbrush")
    old = [name.replace(" ", "_") for name in names]  # as mmdetection 1 wrote them
    assert "traffic_light" in old
    for stored, expected in ((old, names), ([*old[1:], "x"], (*old[1:], "x"))):
        torch.save({"meta": {"CLASSES": stored}, "state_dict": many}, path)
        assert import_weights(path)[0].classes == tuple(expected)


def test_the_full_size_file_has_as_many_tensors_as_the_published_one() -> None:
    with torch.device("meta"):
        state = build_model("solov2-light-r18", 80).state_dict()
    theirs = renamed(state, foreign.official(state))
    assert len(theirs) == 176
    assert round(sum(value.numel() for value in theirs.values()) / 1e6, 2) == 18.28
    assert theirs["bbox_head.kernel_convs.0.conv.weight"].shape == (256, 258, 3, 3)
    assert theirs["mask_feat_head.convs_all_levels.3.conv0.conv.weight"].shape == (128, 258, 3, 3)


def test_the_normalisation_of_a_checkpoint_reaches_the_exported_file(
    official: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(official, tmp_path / "x.pth")
    checkpoint, _ = import_weights(tmp_path / "x.pth", classes=CLASSES)
    save_checkpoint(replace(checkpoint, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)), tmp_path / "x.pt")
    back = load_checkpoint(tmp_path / "x.pt")
    assert (back.mean, back.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    from solo_rt.train.export import static_graph

    size = static_graph(back, imgsz=(64, 96)).spec.input
    assert (size.mean, size.std) == (back.mean, back.std)


def test_what_is_imported_is_exported_and_runs(
    trained: Trained, official: dict[str, Tensor], tmp_path: Path, solo: Solo
) -> None:
    torch.save({"state_dict": official}, tmp_path / "x.pth")
    chosen = ("--classes", "ant, bee,cow", "-o", tmp_path / "x.pt")
    code, out, _ = solo("import-weights", tmp_path / "x.pth", *chosen)
    assert code == 0
    assert out == f"{tmp_path / 'x.pt'}: small with 3 classes, {len(official)} tensors from official\n"
    code, shown, _ = solo("import-weights", tmp_path / "x.pth", *chosen, "--json", "--test-scale", "640x400")
    assert code == 0
    assert load_checkpoint(tmp_path / "x.pt").test_scale == (640, 400)
    code, out, err = solo("import-weights", tmp_path / "x.pth", *chosen, "--test-scale", "400x640")
    assert (code, out) == (2, "")
    assert "expected the long side first, as in 640x400" in err
    card = json.loads(shown)
    assert (card["tensors"], card["classes"]) == (len(official), ["ant", "bee", "cow"])
    assert solo("export", tmp_path / "x.pt", "--imgsz", "64x96", "-o", tmp_path / "x.onnx")[0] == 0
    engine = open_engine(tmp_path / "x.onnx", backend="onnxruntime", device="cpu")
    image = trained.image()
    heads = engine.infer({engine.spec.input.name: image.numpy()})
    with torch.inference_mode():
        expected = trained.model(image).features.numpy()
    engine.close()
    np.testing.assert_allclose(heads["features"], expected, atol=1e-4 * np.abs(expected).max())


def test_the_command_lists_what_does_not_fit_and_writes_nothing(
    official: dict[str, Tensor], tmp_path: Path, solo: Solo
) -> None:
    torch.save({"spare": torch.zeros(1), **official}, tmp_path / "x.pth")
    code, out, err = solo("import-weights", tmp_path / "x.pth", "-o", tmp_path / "x.pt")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "unexpected: spare"
    assert "holds no whole network" in err.splitlines()[1]
    assert solo("import-weights", tmp_path / "x.pth", "-o", tmp_path / "x.onnx")[0] == 2
    assert solo("import-weights", tmp_path / "x.pth", "-o", tmp_path / "x.pt", "--from", "yolact")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_the_command_keeps_the_file_it_reads_and_says_first_that_it_cannot_write(
    official: dict[str, Tensor], tmp_path: Path, solo: Solo
) -> None:
    weights = tmp_path / "x.pt"
    torch.save(official, weights)
    before = weights.read_bytes()
    (tmp_path / "link.pt").symlink_to(weights)
    for name in ("x.pt", "link.pt"):
        code, _, err = solo("import-weights", weights, "-o", tmp_path / name, "--classes", "a,b,c")
        assert code == 2
        assert "expected another file than the weights" in err
    assert weights.read_bytes() == before
    code, _, err = solo("import-weights", tmp_path / "none.pth", "-o", tmp_path / "none" / "y.pt")
    assert code == 2
    assert f"there is no folder {tmp_path / 'none'}" in err


@pytest.mark.parametrize("classes", ["", "ant,,bee"])
def test_empty_names_are_no_names_of_classes(
    classes: str, official: dict[str, Tensor], tmp_path: Path, solo: Solo
) -> None:
    torch.save({"meta": {"CLASSES": CLASSES}, "state_dict": official}, tmp_path / "x.pth")
    code, _, err = solo("import-weights", tmp_path / "x.pth", "-o", tmp_path / "x.pt", "--classes", classes)
    assert code == 2
    assert "--classes: expected 3 distinct names" in err


def test_the_command_offers_every_source() -> None:
    from solo_rt.commands.import_weights import SOURCES as OFFERED

    assert tuple(source.name for source in SOURCES) == OFFERED
