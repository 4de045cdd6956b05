"""The plugins in a real TensorRT parser and builder, which run without a GPU; see oracle/."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import oracle
import pytest
from card import ROOT
from onnx import TensorProto, helper

from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
from solo_rt.train.models import build_model

pytestmark = pytest.mark.slow

CELLS, CLASSES, CHANNELS, SIZE, SLOTS, INSTANCES = 25, 3, 16, (8, 12), 30, 10
WORDS = 3
SPELLED_OUT = {"plugin_version": "1", "plugin_namespace": ""}
CONV = {"score_threshold": 0.1, "mask_threshold": 0.5, "nms_pre": SLOTS}
NMS = {
    "num_classes": CLASSES, "grids": [4, 3], "level_strides": [8, 16], "linear": 0, "sigma": 2.0,
    "update_threshold": 0.05, "max_instances": INSTANCES,
}  # fmt: skip


@pytest.fixture(scope="module")
def library() -> Path:
    """Return libsolo_plugins.so, compiled by nvcc for one architecture."""
    given = os.environ.get("SOLO_RT_PLUGINS")
    if given is not None:
        return Path(given)
    if shutil.which("nvcc") is None or shutil.which("cmake") is None:
        pytest.skip("there is no nvcc or no cmake; SOLO_RT_PLUGINS may name a libsolo_plugins.so")
    folder = ROOT / "build" / "cuda-oracle"
    choice = ["-DSOLO_RT_PYTHON=off", "-DSOLO_RT_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=80"]
    for command in (["-S", ROOT, "-B", folder, *choice], ["--build", folder, "--target", "solo_plugins"]):
        done = subprocess.run(["cmake", *command], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "libsolo_plugins.so"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Return the environment of the parser and builder."""
    try:
        return oracle.environment()
    except oracle.Unavailable as reason:
        pytest.skip(f"no TensorRT parser: {reason}")


def write_model(
    path: Path, *, scores=TensorProto.FLOAT, network=TensorProto.FLOAT, batch=1, channels=CHANNELS, **change
):
    """Write raw heads as inputs and the three plugins behind them; `change` replaces attributes."""
    conv = {name: change.get(name, value) for name, value in (CONV | SPELLED_OUT).items()}
    nms = {name: change.get(name, value) for name, value in (NMS | SPELLED_OUT).items()}
    inputs = [
        helper.make_tensor_value_info("scores", scores, [batch, CELLS, CLASSES]),
        helper.make_tensor_value_info("kernels", network, [batch, CELLS, CHANNELS]),
        helper.make_tensor_value_info("features", network, [batch, channels, *SIZE]),
    ]
    middle = ["best", "candidates", "counts", "masks", "areas", "soft_sums"]
    last = ["num_dets", "final_scores", "labels", "cells", "slots"]
    nodes = [
        helper.make_node("SoloDynamicConv", ["scores", "kernels", "features"], middle, domain="solo_rt", **conv),
        helper.make_node("SoloMatrixNms", middle, last, domain="solo_rt", **nms),
        helper.make_node(
            "SoloMaskOut", ["kernels", "features", "masks", "num_dets", "cells", "slots"], ["regions", "soft"],
            domain="solo_rt", mask_threshold=0.5, **SPELLED_OUT,
        ),
    ]  # fmt: skip
    integer, real = TensorProto.INT32, TensorProto.FLOAT
    outputs = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in (
            ("counts", integer), ("num_dets", integer), ("final_scores", real), ("labels", integer),
            ("regions", integer), ("soft", integer),
        )
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "heads", inputs, outputs)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("solo_rt", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)


def build(library: Path, environment: dict[str, str], model: Path, batch: int = 1) -> tuple[dict[str, object], str]:
    """Return what oracle/build.py reports, and its stderr."""
    program = Path(oracle.__file__).with_name("build.py")
    command = [sys.executable, program, library, model, str(batch)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("scores", "network"),
    [("FLOAT", "FLOAT"), ("FLOAT16", "FLOAT16"), ("FLOAT", "FLOAT16")],
)
def test_plan_with_all_three_plugins(library, environment, tmp_path, scores, network):
    model = tmp_path / "model.onnx"
    write_model(model, scores=TensorProto.DataType.Value(scores), network=TensorProto.DataType.Value(network))
    report, _ = build(library, environment, model)
    assert report["parsed"], report["errors"]
    assert len(report["plugins"]) == 3
    assert report["outputs"] == {
        "counts": ["DataType.INT32", [1, 2]],
        "num_dets": ["DataType.INT32", [1, 1]],
        "final_scores": ["DataType.FLOAT", [1, INSTANCES]],
        "labels": ["DataType.INT32", [1, INSTANCES]],
        "regions": ["DataType.INT32", [1, INSTANCES, 4]],
        "soft": ["DataType.INT32", [1, INSTANCES, SIZE[0], SIZE[1] // 4]],
    }
    assert report["plan"] > 0, report["errors"]


def test_plan_with_a_free_batch(library, environment, tmp_path):
    model = tmp_path / "model.onnx"
    write_model(model, batch="batch")
    report, _ = build(library, environment, model, batch=4)
    assert report["outputs"]["soft"][1] == [-1, INSTANCES, SIZE[0], SIZE[1] // 4]
    assert report["plan"] > 0, report["errors"]


def test_mixed_types_of_kernels_and_features_are_refused(library, environment, tmp_path):
    model = tmp_path / "model.onnx"
    write_model(model, network=TensorProto.FLOAT16)
    changed = onnx.load(model)
    changed.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(changed, model)
    report, _ = build(library, environment, model)
    assert report["plan"] == 0
    assert any("format" in line for line in report["errors"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nms_pre": 5000}, "SoloDynamicConv: nms_pre: expected 1..2048"),
        ({"sigma": 0.0}, "SoloMatrixNms: sigma: expected more than 0"),
        ({"channels": 8}, "SoloDynamicConv: expected as many channels in kernels as in features"),
        ({"max_instances": 31}, "SoloMatrixNms: max_instances: expected at most the number of slots"),
    ],
)
def test_errors_reach_the_user(library, environment, tmp_path, change, message):
    model = tmp_path / "model.onnx"
    write_model(model, **change)
    report, stderr = build(library, environment, model)
    assert report["plan"] == 0
    assert message in stderr


def test_another_plugin_version_is_refused(library, environment, tmp_path):
    model = tmp_path / "model.onnx"
    write_model(model, plugin_version="2")
    report, _ = build(library, environment, model)
    assert not report["parsed"]
    assert any("SoloDynamicConv" in line for line in report["errors"])


def build_engine(library, environment, folder, *arguments, check=True):
    """Run `solo-rt build-engine` on the shipped model with its cache in `folder`."""
    more = {"SOLO_RT_PLUGINS": str(library), "SOLO_RT_CACHE": str(folder)}
    paths = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "solo_rt", "build-engine", *arguments]
    done = subprocess.run(
        command, env={**environment, **more, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode == 0) == check, done.stderr
    return done


@pytest.mark.parametrize("precision", ["--fp32", "--fp16", "--int8"])
def test_the_command_builds_the_shipped_model(library, environment, tmp_path, precision):
    calibration = ["--calib", "test://?frames=6"] if precision == "--int8" else []
    done = build_engine(library, environment, tmp_path, precision, *calibration, "--no-check", "--level", "0", "--json")
    report = json.loads(done.stdout)
    plan = Path(report["engine"])
    assert report["new"]
    assert plan.stat().st_size == report["bytes"] > 1_000_000
    record = json.loads(plan.with_name(plan.name + ".json").read_text())
    assert record["key"]["precision"] == precision.removeprefix("--")
    assert record["spec"]["decoder"]["kind"] == "detections"
    again = build_engine(
        library, environment, tmp_path, precision, *calibration, "--no-check", "--level", "0", "--json"
    )
    assert json.loads(again.stdout) == {**report, "new": False}


@pytest.mark.parametrize("precision", ["--fp32", "--fp16", "--int8"])
def test_the_command_builds_the_shipped_labels(library, environment, tmp_path, precision):
    calibration = ["--calib", "test://?frames=6"] if precision == "--int8" else []
    options = ("--model", "fast-scnn", precision, *calibration, "--no-check", "--level", "0", "--json")
    assert_labels(build_engine(library, environment, tmp_path, *options), 8)


@pytest.mark.parametrize("name", ["enet", "icnet-r50"])
def test_the_command_builds_networks_of_the_zoo(library, environment, tmp_path, name):
    classes = tuple("abcde")
    checkpoint = tmp_path / f"{name}.pt"
    weights = build_model(name, len(classes)).state_dict()
    save_checkpoint(Checkpoint(name, classes, weights, 0, {}, {}, imgsz=(128, 192)), checkpoint)
    options = ("--model", checkpoint, "--fp16", "--no-check", "--level", "0", "--json")
    assert_labels(build_engine(library, environment, tmp_path, *options), len(classes))


def assert_labels(done, classes):
    """Assert that a plan was built whose output is labels."""
    plan = Path(json.loads(done.stdout)["engine"])
    assert plan.stat().st_size > 1_000_000
    spec = json.loads(plan.with_name(plan.name + ".json").read_text())["spec"]
    assert (spec["decoder"]["output"], len(spec["classes"])) == ("labels", classes)


def test_the_command_without_a_gpu_says_what_it_needs(library, environment, tmp_path):
    done = build_engine(library, environment, tmp_path, check=False)
    assert done.returncode == 1
    assert "no CUDA device was found" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_plugins_that_are_not_there_are_an_error_and_not_a_slow_network(environment, tmp_path):
    done = build_engine(tmp_path / "nothing.so", environment, tmp_path, "--no-check", check=False)
    assert "no such file" in done.stderr
