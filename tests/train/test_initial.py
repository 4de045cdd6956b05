"""Weights to start from: what fits is taken, what does not is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import make_small
from torch import nn

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
from solo_rt.train.initial import class_tensors, load_backbone, start_from
from solo_rt.train.models import BUILDERS, build_model

NAME = "solov2-nano"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    weights = build_model(NAME, 2).state_dict()
    save_checkpoint(Checkpoint(NAME, ("cat", "dog"), weights, 9, {}, {}), tmp_path / "trained.pt")
    return tmp_path / "trained.pt", weights


def test_the_same_classes_bring_everything_along(trained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, weights = trained
    model = build_model(NAME, 2)
    fit = start_from(path, model, name=NAME, classes=("cat", "dog"))
    assert fit.describe() == f"{len(weights)} tensors loaded"
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("classes", [("dog", "cat"), ("a", "b", "c")])
def test_other_classes_renew_the_class_head_alone(
    trained: tuple[Path, dict[str, torch.Tensor]], classes: tuple[str, ...]
) -> None:
    path, weights = trained
    model = build_model(NAME, len(classes))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit = start_from(path, model, name=NAME, classes=classes)
    assert set(fit.renewed) == {"head.solo_cate.weight", "head.solo_cate.bias"} == class_tensors(NAME)
    assert not fit.missing + fit.unexpected + fit.misshaped
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in fit.renewed else weights[key])


def test_another_network_brings_what_fits_and_the_rest_is_named(trained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = trained
    fit = start_from(path, build_model("solov2-light-r18", 2), name="solov2-light-r18", classes=("cat", "dog"))
    assert fit.loaded
    assert fit.misshaped
    assert fit.missing
    assert "misshaped (backbone.conv1.weight" in fit.describe()


def test_a_checkpoint_of_which_nothing_fits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS, "other", lambda classes: nn.Linear(classes, 1))
    save_checkpoint(Checkpoint("other", ("a",), nn.Linear(1, 1).state_dict(), 1, {}, {}), tmp_path / "x.pt")
    with pytest.raises(UsageError, match=r"nothing in this other fits a solov2-nano"):
        start_from(tmp_path / "x.pt", build_model(NAME, 1), name=NAME, classes=("a",))


def test_weights_for_pictures_normalised_otherwise_are_made_to_read_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = make_small("solov2", trained=True)
    path, name = tmp_path / "x.pt", "small"
    monkeypatch.setitem(BUILDERS, name, lambda classes: make_small("solov2"))
    checkpoint = Checkpoint(name, ("a", "b", "c"), theirs.state_dict(), 1, {}, {}, mean=MEAN, std=(1.0, 2.0, 3.0))
    save_checkpoint(checkpoint, path)
    ours = make_small("solov2", seed=1).eval()
    start_from(path, ours, name=name, classes=checkpoint.classes)
    picture = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0)).float()
    deviations = (torch.tensor(std)[:, None, None] for std in (STD, checkpoint.std))
    with torch.inference_mode():
        found, expected = (
            net((picture - torch.tensor(MEAN)[:, None, None]) / std).features
            for net, std in zip((ours, theirs), deviations, strict=True)
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    save_checkpoint(replace(checkpoint, mean=(0.0, 0.0, 0.0)), path)
    with pytest.raises(UsageError, match=r"it reads \(0.0, 0.0, 0.0\) and \(1.0, 2.0, 3.0\); start from another"):
        start_from(path, ours, name=name, classes=checkpoint.classes)


def test_a_backbone_takes_weights_with_the_names_of_torchvision(tmp_path: Path) -> None:
    state = build_model("solov2-light-r18", 1).backbone.state_dict()  # type: ignore[union-attr, operator]
    torch.save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "r18.pth")
    model = build_model("solov2-light-r18", 3)
    assert load_backbone(tmp_path / "r18.pth", model).describe() == f"{len(state)} tensors loaded"
    assert all(torch.equal(value, state[key]) for key, value in model.backbone.state_dict().items())  # type: ignore[union-attr, operator]


def test_a_backbone_is_taken_out_of_a_checkpoint(trained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, weights = trained
    model = build_model(NAME, 5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit = load_backbone(path, model)
    assert len(fit.loaded) == sum(key.startswith("backbone.") for key in weights)
    for key, value in model.state_dict().items():
        assert torch.equal(value, (weights if key.startswith("backbone.") else before)[key]), key
    with pytest.raises(UsageError, match=r"is another backbone's: .* misshaped"):
        load_backbone(path, build_model("solov2-light-r18", 1))


def test_a_file_is_read_once_whatever_it_is(
    trained: tuple[Path, dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **options: read.append(args) or real(*args, **options))
    load_backbone(trained[0], build_model(NAME, 5))
    assert len(read) == 1


def test_the_dotted_names_of_old_densenet_files_are_understood(tmp_path: Path) -> None:
    state = build_model("denseaspp-d121", 1).backbone.state_dict()  # type: ignore[union-attr, operator]
    dotted = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    torch.save({**dotted, "classifier.bias": torch.zeros(1000)}, tmp_path / "d121.pth")
    model = build_model("denseaspp-d121", 1)
    assert load_backbone(tmp_path / "d121.pth", model).describe() == f"{len(state)} tensors loaded"


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    state = build_model("solov2-light-r18", 1).backbone.state_dict()  # type: ignore[union-attr, operator]
    path = tmp_path / "r.pth"
    torch.save(state, path)
    with pytest.raises(UsageError, match=r"another backbone's: .* missing"):
        load_backbone(path, build_model("solov2-light-r34", 1))
    torch.save({key: value for key, value in state.items() if not key.startswith("layer4.0")}, path)
    with pytest.raises(UsageError, match=r"missing \(layer4.0.conv1.weight"):
        load_backbone(path, build_model("solov2-light-r18", 1))
    torch.save({"model": state}, path)
    with pytest.raises(UsageError, match="expected a checkpoint or a dictionary of tensors"):
        load_backbone(path, build_model("solov2-light-r18", 1))
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"not a file that torch\.save wrote"):
        load_backbone(path, build_model("solov2-light-r18", 1))
    with pytest.raises(UsageError, match="no backbone of its own"):
        load_backbone(path, nn.Linear(1, 1))
