"""Each code base whose weights can be imported: its names, and what is particular about it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import foreign
import numpy as np
import pytest
import torch
from foreign import assert_same_outputs, renamed, train_small
from small import CONFIGS, DEEP
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.export import static_graph
from solo_rt.train.importing import import_weights
from solo_rt.train.importing.report import IncompleteWeightsError
from solo_rt.train.models import build_model

CLASSES = ("ant", "bee", "cow")


Namer = Callable[[Mapping[str, Tensor]], foreign.Names]

LAST_DEFORMED = "solov2-dcn-light"  # mmdetection deforms the last convolution of light towers, with modulation
OTHERS = {LAST_DEFORMED: replace(CONFIGS["solov2-dcn"], deformed="last", mask_deform=None)}

PUBLISHED = [
    *((foreign.official, kind) for kind in CONFIGS),
    *((foreign.mmdet, kind) for kind in CONFIGS),
    (foreign.mmdet, LAST_DEFORMED),
    (foreign.seed, "solov2"),
]


@pytest.mark.parametrize(("namer", "kind"), PUBLISHED)
def test_every_published_network_computes_here_what_it_computed_there(
    namer: Namer, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = train_small(monkeypatch, kind, config=OTHERS.get(kind))
    torch.save(renamed(trained.state, namer(trained.state)), tmp_path / "x.pth")
    checkpoint, report = import_weights(tmp_path / "x.pth", classes=CLASSES)
    assert (report.source, checkpoint.model) == (namer.__name__, trained.name)
    assert (checkpoint.mean, checkpoint.std) == (MEAN, STD)
    assert_same_outputs(checkpoint, trained)


def test_offsets_of_old_files_are_beside_their_convolution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = train_small(monkeypatch, "decoupled-solo-light-dcn")
    theirs = renamed(trained.state, foreign.official(trained.state))
    old = {key.replace("conv2.conv_offset", "conv2_offset"): value for key, value in theirs.items()}
    old = {key.replace(".conv.conv_offset", ".conv_offset"): value for key, value in old.items()}
    assert "bbox_head.ins_convs.1.conv_offset.bias" in old
    torch.save(old, tmp_path / "x.pth")
    checkpoint, _ = import_weights(tmp_path / "x.pth", classes=CLASSES)
    assert_same_outputs(checkpoint, trained)


def test_plain_and_modulated_offsets_are_not_taken_for_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = train_small(monkeypatch, "decoupled-solo-light-dcn")
    theirs = renamed(trained.state, foreign.official(trained.state))
    for key in theirs:
        if key.startswith("bbox_head.") and "conv_offset" in key:
            theirs[key] = torch.zeros(27, *theirs[key].shape[1:])
    torch.save(theirs, tmp_path / "x.pth")
    with pytest.raises(IncompleteWeightsError) as refused:
        import_weights(tmp_path / "x.pth")
    misshaped = refused.value.report.misshaped
    assert "head.ins_convs.1.0.conv_offset.bias: expected 18, got 27" in misshaped
    assert len(misshaped) == 4


def caffe_style(patch: pytest.MonkeyPatch) -> foreign.Trained:
    """A network as AdelaiDet trains it: bottlenecks with the stride on the first 1x1, reading BGR."""
    return train_small(patch, "solov2", config=replace(CONFIGS["solov2"], backbone=replace(DEEP, stride_on="1x1")))


def adet_file(trained: foreign.Trained, path: Path) -> None:
    state = {key: value for key, value in trained.state.items() if not key.endswith("num_batches_tracked")}
    torch.save({"model": renamed(state, foreign.adet(state)), "iteration": 269999}, path)


def test_adelaidet_reads_bgr_without_a_standard_deviation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = caffe_style(monkeypatch)
    train_small(monkeypatch, "solov2", config=replace(CONFIGS["solov2"], backbone=DEEP), name="same-but-for-the-stride")
    adet_file(trained, tmp_path / "x.pth")
    checkpoint, report = import_weights(tmp_path / "x.pth", classes=CLASSES)
    assert (report.source, checkpoint.model) == ("adet", trained.name)
    assert checkpoint.mean == (123.675, 116.28, 103.53)
    assert checkpoint.std == (1.0, 1.0, 1.0)

    picture = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0)).float()  # RGB
    size = static_graph(checkpoint, imgsz=(64, 96)).spec.input
    here = (picture - torch.tensor(size.mean)[:, None, None]) / torch.tensor(size.std)[:, None, None]
    there = picture.flip(1) - torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    model = build_model(checkpoint.model, 3).eval()
    model.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        found, expected = model(here), trained.model(there)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(trained.model(here).features, expected.features, atol=1e-2)


def test_mask_head_means_the_head_in_one_code_base_and_the_mask_branch_in_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = caffe_style(monkeypatch)
    adet_file(trained, tmp_path / "x.pth")
    with pytest.raises(UsageError, match="no layer of it that gives class scores"):
        import_weights(tmp_path / "x.pth", source="mmdet", classes=CLASSES)


def test_mmdetection_3_trains_with_more_beside_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = train_small(monkeypatch, "solov2")
    theirs = renamed(trained.state, foreign.mmdet(trained.state))
    record = {
        "meta": {"dataset_meta": {"classes": CLASSES, "palette": [(1, 2, 3)]}, "epoch": 36, "cfg": "model = dict()"},
        "state_dict": theirs,
        "ema_state_dict": {f"module.{key}": torch.zeros_like(value) for key, value in theirs.items()},
        "message_hub": {"log_scalars": {"train/loss": history_buffer(monkeypatch)}, "runtime_info": {"lr": np.ones(2)}},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "param_schedulers": [{"last_step": 3}],
    }
    torch.save(record, tmp_path / "x.pth")
    monkeypatch.delitem(sys.modules, "mmengine.logging.history_buffer")
    checkpoint, _ = import_weights(tmp_path / "x.pth")
    assert checkpoint.classes == CLASSES
    assert_same_outputs(checkpoint, trained)


def test_mmdetection_2_keeps_the_weights_in_training_as_buffers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = train_small(monkeypatch, "solov2")
    theirs = renamed(trained.state, foreign.mmdet(trained.state))
    others = {f"ema_{key.replace('.', '_')}": torch.zeros_like(value) for key, value in theirs.items()}
    torch.save({"meta": {"CLASSES": CLASSES}, "state_dict": {**theirs, **others}}, tmp_path / "x.pth")
    checkpoint, report = import_weights(tmp_path / "x.pth")
    assert not report.unexpected
    assert_same_outputs(checkpoint, trained)


def test_a_backbone_needs_no_import(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = build_model("solov2-light-r18", 1).backbone.state_dict()  # type: ignore[union-attr, operator]
    state = {key: torch.zeros(1) for key in shapes} | {"fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "resnet18.pth")
    with pytest.raises(UsageError, match=r"a backbone of 2-2-2-2 blocks.*needs no import.*solov2-.*r18.*--backbone-w"):
        import_weights(tmp_path / "resnet18.pth")
    torch.save({key: value for key, value in state.items() if "layer4.1" not in key}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"expected a file with torchvision's names for a ResNet, found .* 2-2-2-1"):
        import_weights(tmp_path / "other.pth", source="torchvision")


def history_buffer(patch: pytest.MonkeyPatch) -> object:
    """Return an object that pickles as mmengine's HistoryBuffer does: arrays, and functions of its own class."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def mean(self) -> float:
            return 0.0

        def __getstate__(self) -> dict[str, object]:
            return {"_log_history": np.arange(5.0), "_count_history": np.ones(5), "statistics_methods": {"mean": mean}}

    mean = HistoryBuffer.mean
    for made in (HistoryBuffer, mean):
        made.__module__ = module.__name__
        made.__qualname__ = made.__qualname__.rpartition("<locals>.")[2]
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging"):
        patch.setitem(sys.modules, name, types.ModuleType(name))
    patch.setitem(sys.modules, module.__name__, module)
    return HistoryBuffer()
