"""A checkpoint as an engine: the numbers of the network, at any size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from solo_rt.cpu import SPIN_COUNT
from solo_rt.device import Device
from solo_rt.engine.threads import describe
from solo_rt.errors import EngineError, SpecError
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from solo_rt.train.data.semantic.world import LEGEND
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.engine.exact import cudnn_set, open_checkpoint
from solo_rt.train.models import build_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_model("solov2-nano", 2)
    path = tmp_path_factory.mktemp("checkpoint") / "x.pt"
    save_checkpoint(Checkpoint("solov2-nano", ("ant", "bee"), model.state_dict(), 0, {}, {}), path)
    return path


def test_engine_computes_the_network_at_any_size(checkpoint):
    engine = open_checkpoint(checkpoint, device=Device("cpu"), imgsz=(64, 96))
    assert (engine.spec.name, engine.spec.classes) == ("solov2-nano", ("ant", "bee"))
    assert engine.backend == f"torch {describe(torch.get_num_threads(), 1)}"
    for size in ((64, 96), (96, 64)):
        sized = engine.resized(size)
        assert (sized.spec.input.height, sized.spec.input.width) == size
        image = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
        found = sized.infer({"image": image})
        for name, shape in sized.spec.output_shapes.items():
            assert all(wanted in (-1, got) for wanted, got in zip(shape, found[name].shape, strict=True))
        model = build_model("solov2-nano", 2).eval()
        model.load_state_dict(torch.load(checkpoint, weights_only=True)["weights"])
        with torch.inference_mode():
            heads = model(torch.from_numpy(image))
        np.testing.assert_allclose(found["features"], heads.features.numpy(), atol=1e-5)
    with pytest.raises(SpecError, match="divisible by 32"):
        engine.resized((60, 96))


def test_the_scale_of_a_measurement_is_that_of_the_checkpoint_or_of_the_network(checkpoint, tmp_path, solo):
    assert open_checkpoint(checkpoint, device=Device("cpu")).test_scale == (448, 256)
    source = load_checkpoint(checkpoint)
    world = write_coco(tmp_path / "coco", images=1, size=(90, 160))
    save_checkpoint(replace(source, classes=("ball", "ring"), test_scale=(100, 60)), tmp_path / "x.pt")
    options = ["eval", "--model", tmp_path / "x.pt", "--data", f"coco:{world.parent}", "--device", "cpu", "--json"]
    for given, expected in (([], "100 by 60"), (["--test-scale", "80x70"], "80 by 70")):
        code, out, _ = solo(*options, "--exact", *given)
        scores = json.loads(out)
        assert (code, scores["images"]) == (0, 1)
        assert scores["protocol"].startswith(f"published procedure, pictures of at most {expected} pixels, either way")
    code, _, err = solo(*options, "--test-scale", "80x70")
    assert code == 2
    assert "--test-scale is for --exact of a checkpoint" in err


def test_closed_engine_and_missing_device_are_explained(checkpoint):
    engine = open_checkpoint(checkpoint, device=Device("cpu"), imgsz=(64, 96))
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.infer({"image": np.zeros((1, 3, 64, 96), np.float32)})
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="device cuda: PyTorch cannot use it"):
            open_checkpoint(checkpoint, device=Device("cuda"))


def test_a_semantic_checkpoint_is_measured_by_its_logits(tmp_path, solo):
    """Through the command, on held-out pictures of the world, at a size that is not the network's own."""
    torch.manual_seed(0)
    weights = build_model("fast-scnn", 8).state_dict()
    path = tmp_path / "x.pt"
    save_checkpoint(Checkpoint("fast-scnn", LEGEND.classes, weights, 0, {}, {}), path)
    engine = open_checkpoint(path, device=Device("cpu"), imgsz=(64, 96), output_kind="logits").resized((32, 64))
    assert engine.infer({"image": np.zeros((1, 3, 32, 64), np.float32)})["logits"].shape == (1, 8, 32, 64)
    code, out, _ = solo("eval", "--model", path, "--data", "world:", "--max-images", 1, "--device", "cpu", "--json")
    scores = json.loads(out)
    assert (code, scores["images"]) == (0, 1)
    assert scores["protocol"] == "val, network input 512x1024, logits resized to the pictures, by torch cpu"
    assert set(scores["per_class"]) == set(LEGEND.classes)


def test_an_engine_has_the_settings_of_cudnn_for_itself() -> None:
    """They are those of the process: of two that overlap, one would compute by, and put back, those of the other."""
    cudnn = torch.backends.cudnn
    seen: list[tuple[bool, bool, bool]] = []
    waiting = threading.Event()

    def look() -> tuple[bool, bool, bool]:
        return cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    def be_fast() -> None:
        waiting.set()
        with cudnn_set(exact=False):
            seen.append(look())

    before, other = look(), threading.Thread(target=be_fast)
    with cudnn_set(exact=True):
        other.start()
        waiting.wait()
        other.join(0.1)
        seen.append(look())
    other.join()
    assert seen == [(False, True, False), (True, False, True)]
    assert look() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PyTorch brings GNU's OpenMP there")
@pytest.mark.parametrize("arguments", [["inspect"], ["run", "--source", "test://?frames=1", "--model"]])
def test_threads_of_pytorch_sleep_when_they_have_nothing_to_do(checkpoint: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose"}
    environment.pop(SPIN_COUNT)
    command = [sys.executable, "-m", "solo_rt", *arguments, str(checkpoint)]
    child = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert f"{SPIN_COUNT} = '1000'" in child.stderr
