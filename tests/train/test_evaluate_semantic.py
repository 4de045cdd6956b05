"""`solo-rt eval` of models that label pixels, as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from command_line import Solo
from fakes import STREET_SPEC, write_street_model, write_tiny_model

from solo_rt.engine import precision
from solo_rt.errors import DatasetError
from solo_rt.train.evaluate.cityscapes import InstanceTally
from solo_rt.train.evaluate.protocol import computed_by
from solo_rt.train.evaluate.semantic import Tally
from solo_rt.train.evaluate.shards import Shard
from solo_rt.train.evaluate.tallies import Counted, merge_tallies, write_tally


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Write five pictures twice as large as the network's input, with some labels that the model gets wrong."""
    for folder in ("images", "labels"):
        (tmp_path / "street" / folder).mkdir(parents=True)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = np.kron(rng.integers(0, 3, (6, 10)), np.ones((8, 8), int)).astype(np.uint8)
        image = np.eye(3, dtype=np.uint8)[labels] * 200 + 20
        labels[:8, :8] = 0
        cv2.imwrite(str(tmp_path / "street" / "images" / f"{seed}.png"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / "street" / "labels" / f"{seed}.png"), labels)
    (tmp_path / "street" / "classes.json").write_text(json.dumps({"classes": STREET_SPEC.classes}))
    return tmp_path / "street"


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    logits = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="logits"))
    return {
        "labels": write_street_model(tmp_path / "labels.onnx"),
        "logits": write_street_model(tmp_path / "logits.onnx", spec=logits),
        "instances": write_tiny_model(tmp_path / "tiny.onnx"),
    }


def test_the_table_names_protocol_and_classes(
    solo: Solo, street: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    code, out, err = solo(
        "eval",
        "--model",
        models["labels"],
        "--data",
        f"folder:{street}",
        "--pictures",
        sheet,
        "--backend",
        "onnxruntime",
    )
    assert code == 0
    how = "network input 24x40, labels resized to the pictures, by onnxruntime cpu"
    assert out.splitlines()[0] == f"5 pictures of folder, val, {how}"
    for word in ("mIoU", "pixel_accuracy", "road", "sky", "car"):
        assert word in out
    assert "warning: the model's labels were enlarged" in err
    assert cv2.imread(str(sheet)).shape[1] == 3 * 480 + 4 * 8
    assert "warning" not in solo("eval", "--model", models["logits"], "--data", f"folder:{street}")[2]


def test_several_views_are_asked_for_by_scales_and_flip(solo: Solo, street: Path, models: dict[str, Path]) -> None:
    options = ("--data", f"folder:{street}", "--scales", "0.5,1,1.5", "--flip", "--json")
    code, out, _ = solo("eval", "--model", models["logits"], *options)
    scores = json.loads(out)
    assert (code, scores["images"]) == (0, 5)
    assert scores["protocol"].split(", by ")[0].endswith("scales 0.5, 1, 1.5, each also mirrored")
    assert scores["metrics"]["mIoU"] > 0.7
    assert "--output-kind logits" in solo("eval", "--model", models["labels"], *options)[2]


def test_parts_put_together_score_as_one_run(solo: Solo, street: Path, models: dict[str, Path], tmp_path: Path) -> None:
    options = ("--model", models["logits"], "--data", f"folder:{street}", "--max-images", 4)
    files = [tmp_path / f"{part}.json" for part in (1, 2, 3)]
    for part, file in enumerate(files, 1):
        assert solo("eval", *options, "--shard", f"{part}/3", "--results", file)[:2] == (0, f"{file}\n")
    whole, together = solo("eval", *options, "--json")[1], solo("eval", "--merge", *files, "--json")[1]
    assert json.loads(whole) == json.loads(together)
    code, _, err = solo("eval", "--merge", *files[:2])
    assert (code, "expected 3 parts, got 2" in err) == (2, True)
    other = json.loads(files[0].read_text())
    other["what"][0] = "folder:elsewhere"
    files[0].write_text(json.dumps(other))
    assert "expected another part of" in solo("eval", "--merge", *files)[2]
    files[0].write_text('{"solo-rt tally": 1}')
    assert "expected what solo-rt eval --shard writes" in solo("eval", "--merge", *files)[2]


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        ("openvino cpu, 2 threads, 2 lanes, int8, bf16", "by openvino cpu, int8, bf16"),
        ("openvino cpu, 1 thread", "by openvino cpu"),
        ("onnxruntime cuda:1, int8", "by onnxruntime cuda, int8"),
        ("tensorrt 10.16.1.11 fp16, NVIDIA H200", "by tensorrt 10.16.1.11 fp16"),
        ("torch cpu", "by torch cpu"),
    ],
)
def test_numbers_name_what_they_depend_on(engine: str, named: str) -> None:
    assert computed_by(SimpleNamespace(backend=engine)) == named


def test_weights_of_instances_survive_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tallies = [
        Tally(1, rng.integers(0, 9, (19, 20)), InstanceTally(rng.random((19, 2)), rng.random((7, 2)))) for _ in range(2)
    ]
    for part, tally in enumerate(tallies, 1):
        counted = Counted("cityscapes:", "val", None, "m.onnx", "protocol", tally)
        write_tally(tmp_path / f"{part}.json", Shard(part, 2), counted)
    merged = merge_tallies([tmp_path / "2.json", tmp_path / "1.json"])
    expected = tallies[0] + tallies[1]
    np.testing.assert_array_equal(merged.tally.confusion, expected.confusion)
    assert merged.tally.instances is not None
    assert expected.instances is not None
    np.testing.assert_allclose(merged.tally.instances.classes, expected.instances.classes)
    with pytest.raises(DatasetError, match="expected another part"):
        merge_tallies([tmp_path / "1.json"] * 2)


def test_options_that_do_not_fit_are_refused(solo: Solo, street: Path, models: dict[str, Path]) -> None:
    semantic = ("--model", models["labels"], "--data", f"folder:{street}")
    assert "--exact and --conf are for models that find instances" in solo("eval", *semantic, "--conf", 0.5)[2]
    assert "expected factors such as 0.5,0.75" in solo("eval", *semantic, "--scales", "big")[2]
    instances = ("--model", models["instances"], "--data", "coco:nowhere", "--flip")
    code, _, err = solo("eval", *instances)
    assert (code, "--scales and --flip are for models that give every pixel a class" in err) == (2, True)


def test_metrics_are_recorded_in_the_model(solo: Solo, street: Path, models: dict[str, Path]) -> None:
    from solo_rt.engine.model_file import read_spec

    assert solo("eval", "--model", models["logits"], "--data", f"folder:{street}", "--record")[0] == 0
    assert set(read_spec(models["logits"]).provenance.metrics) == {"mIoU", "pixel_accuracy"}


def test_what_cannot_be_measured_is_not_recorded(solo: Solo, street: Path, models: dict[str, Path]) -> None:
    for path in (street / "labels").iterdir():
        cv2.imwrite(str(path), np.full((48, 80), 255, np.uint8))
    before = models["logits"].read_bytes()
    code, _, err = solo("eval", "--model", models["logits"], "--data", f"folder:{street}", "--record")
    assert (code, "there is no mIoU: the data has nothing of the model's classes" in err) == (2, True)
    assert models["logits"].read_bytes() == before


def test_what_16_bits_cost_is_recorded_beside_32(
    solo: Solo, street: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from solo_rt.engine.model_file import read_spec

    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    asked = ("--model", models["logits"], "--data", f"folder:{street}", "--record", "--precision")
    code, _, err = solo("eval", *asked, "bf16")
    assert (code, "what bf16 costs is known beside fp32; run with --precision fp32 first" in err) == (2, True)
    assert solo("eval", *asked, "fp32")[0] == 0
    before = read_spec(models["logits"])
    assert solo("eval", *asked, "bf16")[0] == 0
    after = read_spec(models["logits"])
    assert after == replace(before, costs={"bf16": 0.0})
    assert "bf16 +0.0000" in describe(models["logits"])


def describe(model: Path) -> str:
    from click.testing import CliRunner

    from solo_rt.commands.inspect import inspect

    return CliRunner().invoke(inspect, [str(model)]).output
