"""The training loop: it learns, logs, stops when asked to, and continues where it was."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from runs import assert_same_run, settings, tiny
from torch import Tensor

from solo_rt.device import Device
from solo_rt.errors import SinkError, SoloRTError, UsageError
from solo_rt.train import loop
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint
from solo_rt.train.data.batches import LoaderLost, Part, load_parts
from solo_rt.train.distributed import Job
from solo_rt.train.export import static_graph
from solo_rt.train.loop import Outcome, Progress, train
from solo_rt.train.recipe import Phase
from solo_rt.train.state import TrainingState, seed_step
from solo_rt.train.task import Task, make_task


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_a_resumed_run_ends_with_the_state_of_an_unbroken_one(tmp_path: Path, ema: float) -> None:
    recipe = tiny(2, 3, ema=ema)
    whole = load_checkpoint(train(recipe, tmp_path / "whole", settings()).checkpoint)
    for end in (1, 3, None):
        outcome = train(recipe, tmp_path / "cut", settings(max_steps=end, resume="auto"))
        assert outcome == Outcome(tmp_path / "cut" / "last.pt", end or 5, end is not None)
    assert_same_run(whole, load_checkpoint(tmp_path / "cut" / "last.pt"))
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert train(recipe, tmp_path / "cut", settings(resume="auto")).step == 5  # nothing left to do


def test_chance_within_steps_is_the_same_in_a_resumed_run(tmp_path: Path) -> None:
    recipe = replace(tiny(3, model="fast-scnn"), label_step=2)  # and its dropout
    whole = load_checkpoint(train(recipe, tmp_path / "whole", settings()).checkpoint)
    train(recipe, tmp_path / "cut", settings(max_steps=1))
    assert_same_run(whole, load_checkpoint(train(recipe, tmp_path / "cut", settings(resume="auto")).checkpoint))


def test_an_average_of_no_decay_is_the_weights(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(train(tiny(2, ema=0.0), tmp_path / "run", settings()).checkpoint)
    assert all(torch.equal(checkpoint.training["weights"][k], v) for k, v in checkpoint.weights.items())


def test_steps_are_reported_and_logged(tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(tiny(2, 3), tmp_path / "run", settings(), on_step=seen.append)
    assert [(p.step, p.steps) for p in seen] == [(n, 5) for n in range(1, 6)]
    assert all(p.pictures_per_second > 0 and 0 < p.waiting < 1 for p in seen)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["total"] == pytest.approx(lines[0]["focal"] + lines[0]["dice"], rel=1e-5)
    assert cv2.imread(str(tmp_path / "run" / "curves.png")).ndim == 3


def test_denormals_are_zero_in_all_threads_of_a_run(tmp_path: Path) -> None:
    def weakened() -> Tensor:
        return torch.full((1 << 20,), 1e-19) * 1e-20

    def run() -> tuple[list[bool], bool]:
        torch.set_num_threads(2)
        found: list[bool] = []
        train(tiny(2), tmp_path / "run", settings(), on_step=lambda progress: found.append(bool(weakened().any())))
        return found, bool(weakened()[0] > 0)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1) as other:  # whose threads of PyTorch are its own
            assert other.submit(run).result() == ([False, False], True)
    finally:
        torch.set_num_threads(before)


def test_the_hours_of_a_resumed_run_are_those_of_both_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(7)  # hours; each look at it takes one
    fake = SimpleNamespace(monotonic=lambda: 3600 * next(clock), perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", fake)
    for end in (2, 5):
        outcome = train(tiny(5), tmp_path / "run", settings(max_steps=end, resume="auto"))
        assert load_checkpoint(outcome.checkpoint).provenance["training_hours"] == end


def test_a_log_that_runs_ahead_of_its_checkpoint_is_cut_back(tmp_path: Path) -> None:
    recipe, log = tiny(4), tmp_path / "run" / "log.jsonl"
    train(recipe, tmp_path / "run", settings(max_steps=2))
    kept = log.read_text()
    log.write_text(kept + '{"step": 4, "total": 9.0}\n{"step": 6, "tot')
    train(recipe, tmp_path / "run", settings(max_steps=3, resume="auto"))
    assert log.read_text() == kept


def test_a_stop_finishes_the_step_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def on_step(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step == 2:
            stop.set()

    outcome = train(tiny(9), tmp_path / "run", settings(save_every=100), stop=stop, on_step=on_step)
    assert (outcome.step, outcome.stopped, seen) == (3, True, [1, 2, 3])  # the flag is read at the end of a step
    assert load_checkpoint(outcome.checkpoint).step == 3


@pytest.mark.parametrize(("model", "metric"), [("fast-scnn", "val_mIoU"), ("solov2-nano", "val_AP")])
def test_held_out_pictures_are_measured_at_checkpoints_and_the_best_is_kept(
    tmp_path: Path, model: str, metric: str
) -> None:
    recipe = tiny(4, model=model)
    outcome = train(recipe, tmp_path / "run", settings(val=2, save_every=3, log_every=100))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 4]
    values = [line[metric] for line in lines]
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best.step == lines[values.index(max(values))]["step"]
    assert load_checkpoint(outcome.checkpoint).training["best"] == max(values)


@pytest.mark.parametrize(("model", "metric"), [("fast-scnn", "val_mIoU"), ("solov2-nano", "val_AP")])
def test_a_checkpoint_is_written_before_it_is_measured_and_measuring_ends_when_asked_to(
    tmp_path: Path, model: str, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, out, real = threading.Event(), tmp_path / "run", loop._measure
    written: list[int] = []

    def measure(state: TrainingState, task: Task, asked: threading.Event) -> tuple[dict[str, float], bool]:
        written.append(load_checkpoint(out / "last.pt").step)
        if state.step == 4:
            stop.set()
        return real(state, task, asked)

    monkeypatch.setattr(loop, "_measure", measure)
    outcome = train(tiny(9, model=model), out, settings(val=2, save_every=2), stop=stop)
    assert (written, outcome.step, outcome.stopped) == ([2, 4], 4, True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], metric in line) for line in lines] == [(2, True), (4, False)]
    assert load_checkpoint(out / "best.pt").training["best"] == lines[0][metric]


def test_labels_can_be_learnt_from_at_steps_and_a_whole_picture_be_larger_than_a_crop(tmp_path: Path) -> None:
    recipe = replace(tiny(1, model="fast-scnn"), label_step=2, class_weights=1.1, whole=(64, 96))
    said: list[str] = []
    checkpoint = load_checkpoint(train(recipe, tmp_path / "run", settings(), on_start=said.append).checkpoint)
    assert checkpoint.imgsz == (64, 96)
    assert any(line.startswith("class weights: background ") for line in said)


def test_a_diverging_run_stops_with_its_losses_and_pictures(tmp_path: Path) -> None:
    with pytest.raises(SoloRTError, match=r"no longer finite at step \d+: total .*dice .*pictures: world \d+, picture"):
        train(tiny(30, lr=1e18), tmp_path / "run", settings(save_every=1))
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert all(torch.isfinite(value).all() for value in last.weights.values())


def diverging(model: torch.nn.Module, outputs: Any, batch: Any, job: Job) -> dict[str, torch.Tensor]:
    """A loss of 0 whose gradient is not a number."""
    return {"total": (outputs.features * 0).sum().sqrt()}


def begin_state(job: Job) -> tuple[TrainingState, Iterator[Part]]:
    task = make_task(tiny(2), "world:", imgsz=(32, 64))
    state = TrainingState(tiny(2), task, settings(), job)
    state.begin()
    return state, load_parts(task.data, steps=range(2), batch=2, shuffled=False)


def test_an_average_follows_the_weights_closely_in_the_beginning() -> None:
    with loop.join_job(Device("cpu"), timeout=60) as job:
        state, parts = begin_state(job)
        began = copy.deepcopy(state.average)
        state.advance(parts, make_task(tiny(2), "world:", imgsz=(32, 64)).losses)
        for name, value in state.model.named_parameters():
            assert (value - state.average[name]).norm() < 0.5 * (value - began[name]).norm(), name


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change() -> None:
    with loop.join_job(Device("cpu"), timeout=60) as job:
        state, parts = begin_state(job)
        before = copy.deepcopy(state.model.state_dict())
        expected = r"finite but not its gradient at step 1: total 0, gradient_norm nan; pictures: .*\(0\), .*--amp off"
        with pytest.raises(SoloRTError, match=expected):
            state.advance(parts, diverging)
        assert state.step == 0
        learnt = dict(state.model.named_parameters())
        assert all(torch.equal(before[name], value) for name, value in learnt.items())
        assert all(torch.isfinite(value).all() for value in state.snapshot().weights.values())


def test_a_gradient_that_overflows_when_scaled_skips_the_step() -> None:
    """As with --amp fp16, whose scaler looks for a factor that fits."""
    with loop.join_job(Device("cpu"), timeout=60) as job:
        state, parts = begin_state(job)
        state.scaler = torch.amp.GradScaler("cpu")
        scale = state.scaler.get_scale()
        before = copy.deepcopy(dict(state.model.named_parameters()))
        values, _ = state.advance(parts, diverging)
        assert math.isnan(values["gradient_norm"])
        assert state.scaler.get_scale() == scale / 2
        assert all(torch.equal(before[name], value) for name, value in state.model.named_parameters())


def test_a_full_disk_ends_only_a_run_that_would_lose_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, calls = loop.save_step, []

    def fail_at_two(checkpoint: Checkpoint, folder: Path, *, keep: int, best: bool) -> Path:
        calls.append(checkpoint.step)
        if checkpoint.step == 2:
            raise SinkError("no space left")
        return real(checkpoint, folder, keep=keep, best=best)

    monkeypatch.setattr(loop, "save_step", fail_at_two)
    assert train(tiny(3), tmp_path / "run", settings()).step == 3
    assert "no space left; the run goes on" in caplog.text
    with pytest.raises(SinkError, match="no space left"):
        train(tiny(2), tmp_path / "other", settings())


def test_a_full_disk_costs_the_log_and_the_curves_but_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Path.open

    def without_room(path: Path, mode: str = "r", *arguments: Any, **others: Any) -> Any:
        return real(Path("/dev/full") if mode == "a" else path, mode, *arguments, **others)

    monkeypatch.setattr(Path, "open", without_room)
    (tmp_path / "run" / "curves.png").mkdir(parents=True)
    monkeypatch.setattr(loop, "read_log", lambda path: [{"step": 1, "total": 1.0}])
    outcome = train(tiny(2), tmp_path / "run", settings(log_every=1))
    assert load_checkpoint(outcome.checkpoint).step == 2
    told = [record.getMessage() for record in caplog.records]
    assert ["No space left on device; the run goes on" in told[0], "no curves: " in told[1], len(told)] == [
        True,
        True,
        2,
    ]


def test_a_log_that_cannot_begin_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    with pytest.raises(SinkError, match=r"cannot write .*log.jsonl: .*; free some space or choose another --out"):
        train(tiny(1), tmp_path / "run", settings())


def test_a_batch_is_the_same_in_parts(tmp_path: Path) -> None:
    """Half the batch at a time gives other batch statistics, but sees the same pictures and takes as many steps."""
    outcome = train(tiny(2), tmp_path / "run", settings(accumulate=2))
    assert outcome.step == 2
    with pytest.raises(UsageError, match="a batch of 2 cannot be dealt out to 1 processes in 4 parts"):
        train(tiny(1), tmp_path / "other", settings(accumulate=4))


@pytest.mark.parametrize("changes", [{"amp": "bf16"}, {"channels_last": False}])
def test_ways_to_run_a_step(tmp_path: Path, changes: dict[str, object]) -> None:
    assert train(tiny(2), tmp_path / "run", settings(**changes)).step == 2


def test_workers_change_nothing(tmp_path: Path) -> None:
    runs = [
        load_checkpoint(train(tiny(3), tmp_path / str(n), settings(workers=n, max_steps=3)).checkpoint) for n in (0, 2)
    ]
    assert_same_run(*runs)


def test_how_long_it_takes_is_said_once_the_first_steps_are_done(tmp_path: Path) -> None:
    said: list[tuple[int, str]] = []
    steps: list[Progress] = []
    train(
        tiny(7),
        tmp_path / "run",
        settings(),
        on_start=lambda line: said.append((len(steps), line)),
        on_step=steps.append,
    )
    assert [at for at, line in said if line.startswith("2 steps to go, about 1 min")] == [5]


def test_each_checkpoint_draws_a_preview_and_none_is_worth_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tiny(1, model="fast-scnn"), tmp_path / "run", settings(preview=tmp_path / "sheet.png"))
    assert cv2.imread(str(tmp_path / "sheet.png")).ndim == 3
    train(tiny(1, model="fast-scnn"), tmp_path / "more", settings(preview=tmp_path / "gone" / "sheet.png"))
    assert "no preview: cannot write" in caplog.text


def test_a_run_that_loses_its_loaders_leaves_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(parts: Iterator[Part], _device: torch.device) -> Iterator[Part]:
        yield from islice(parts, 2)
        raise LoaderLost("killed")

    monkeypatch.setattr(loop, "fetch", lose)
    with pytest.raises(LoaderLost, match="killed"):
        train(tiny(9), tmp_path / "run", settings(save_every=99))
    assert load_checkpoint(tmp_path / "run" / "last.pt").step == 2


def test_a_run_resumed_in_another_folder_keeps_its_own_best(tmp_path: Path) -> None:
    recipe = tiny(2, model="fast-scnn")
    train(recipe, tmp_path / "one", settings(val=1))
    first = str(tmp_path / "one" / "step-00000001.pt")
    train(recipe, tmp_path / "other", settings(val=1, resume=first))
    assert load_checkpoint(tmp_path / "other" / "best.pt").step == 2


def test_a_picture_at_a_time_is_too_few_for_a_network_that_pools_all_of_it(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"fast-scnn normalises .* at least 2 at a time .* got 1; give a larger --batch"
    ):
        train(tiny(1, model="fast-scnn"), tmp_path / "run", settings(accumulate=2))
    assert train(tiny(1), tmp_path / "other", settings(accumulate=2)).step == 1


def test_chance_in_a_step_depends_on_seed_step_and_rank_alone() -> None:
    def draw(*key: int) -> float:
        seed_step(*key)
        return float(torch.rand(()))

    assert draw(1, 2, 0) == draw(1, 2, 0)
    assert len({draw(*key) for key in ((1, 2, 0), (1, 2, 1), (1, 3, 0), (2, 2, 0))}) == 4


@pytest.mark.slow
def test_a_hundred_steps_learn_something(tmp_path: Path) -> None:
    values: list[dict[str, float]] = []
    recipe = replace(tiny(100, lr=2e-3), phases=(Phase((64, 128), 8, steps=100),), warmup_steps=20)
    train(recipe, tmp_path / "run", settings(save_every=100), on_step=lambda p: values.append(p.values))
    first, last = (sum(v["total"] for v in part) / 10 for part in (values[:10], values[-10:]))
    assert last < 0.75 * first


@pytest.mark.parametrize("model", ["solov2-nano", "fast-scnn"])
def test_a_checkpoint_is_used_at_the_size_it_was_trained_at(model: str) -> None:
    recipe = tiny(1, 1, model=model)
    with loop.join_job(Device("cpu"), timeout=60) as job:
        state = TrainingState(recipe, make_task(recipe, "world:", imgsz=(32, 64)), settings(), job)
        state.begin()
        found = static_graph(state.snapshot()).spec.input
    assert (found.height, found.width) == (64, 128)
