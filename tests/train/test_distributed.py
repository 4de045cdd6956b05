"""Several processes: the gradients of one, the same end, and no waiting for one that is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from solo_rt.device import Device
from solo_rt.errors import SoloRTError
from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.distributed import join_job
from tests.train.test_killed import run_job


@pytest.mark.parametrize("model", ["solov2-nano", "fast-scnn"])
def test_two_processes_have_the_gradients_of_one_with_the_whole_batch(tmp_path: Path, model: str) -> None:
    run_job("gradients", tmp_path, model)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert one["values"]["total"] == pytest.approx(two["values"]["total"], rel=1e-5)
    assert one["gradients"].keys() == two["gradients"].keys()
    largest = max(float(value.abs().max()) for value in one["gradients"].values())
    for name, value in one["gradients"].items():
        assert float((value - two["gradients"][name]).abs().max()) <= 1e-5 * largest, name


@pytest.mark.slow
def test_two_processes_share_the_held_out_pictures_and_agree_on_the_scores(tmp_path: Path) -> None:
    run_job("measured", tmp_path)
    one, *two = (json.loads((tmp_path / name).read_text()) for name in ("one", "two-0", "two-1"))
    assert [said["scores"] for said in two] == [one["scores"]] * 2
    assert [said["stopped"] for said in (one, *two)] == [one["scores"], {}, {}]  # process 1 was asked to
    assert one["collected"] == [0, "one"]
    assert [said["collected"] for said in two] == [[0, "two-0", 1, "two-1"]] * 2


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Application timeout caused pair closure", "lost the others"),
        ("[pair.cc:547] Connection closed by peer [127.0.0.1]:52786", "lost the others"),
        ("Timed out waiting 15000ms for recv operation to complete", "lost the others"),
        ("The size of tensor a (3) must match the size of tensor b (4)", "The size of tensor a"),
    ],
)
def test_a_lost_connection_is_told_from_other_failures(
    monkeypatch: pytest.MonkeyPatch, message: str, expected: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    with (
        pytest.raises(SoloRTError if "lost" in expected else RuntimeError, match=expected),
        join_job(Device("cpu"), timeout=60),
    ):
        raise RuntimeError(message)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_lost_process_ends_the_job_soon_and_it_can_be_resumed(tmp_path: Path, how: str) -> None:
    run_job("lost_process", tmp_path, how)
    assert float((tmp_path / "waited").read_text()) < 60  # the timeout of the test is 15 s, of a run 300 s
    assert (tmp_path / "codes").read_text() == "1 -9"
    message = (tmp_path / "message").read_text()
    assert message.startswith("process 1 of 2 lost the others")
    assert message.endswith("start the job again with --resume auto")
    resumed, whole = (load_checkpoint(tmp_path / run / "last.pt") for run in ("run", "whole"))
    assert resumed.step == whole.step == 6
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())


@pytest.mark.slow
def test_all_processes_stop_after_the_same_step(tmp_path: Path) -> None:
    run_job("stopped", tmp_path)
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["1 True", "1 True"]
