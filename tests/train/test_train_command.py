"""`solo-rt train` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import Solo

from solo_rt.engine import precision
from solo_rt.train.checkpoint import describe_checkpoint, load_checkpoint
from solo_rt.train.data.semantic.folder import write_folder
from solo_rt.train.data.semantic.world import held_out_world
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.export import static_graph

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = ("--phase", "32x64:2:2", "--workers", "0")


def test_a_cpu_that_multiplies_bfloat16_trains_in_it(
    solo: Solo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    _, _, err = solo("train", *SMALL, "--out", tmp_path / "run")
    assert err.splitlines()[0] == "solov2-nano, 7 classes, 2 steps on 1 x cpu in bf16"
    assert json.loads(load_checkpoint(tmp_path / "run" / "last.pt").training["settings"])["amp"] == "bf16"


def test_a_run_leaves_a_checkpoint_a_log_and_curves(
    solo: Solo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    code, out, err = solo("train", *SMALL, "--out", tmp_path / "run", "--ema", 0, "--lr", 0.001, "--seed", 3)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'last.pt'}\n")
    assert err.splitlines()[0] == "solov2-nano, 7 classes, 2 steps on 1 x cpu"  # then progress, on a slow machine
    assert json.loads(load_checkpoint(tmp_path / "run" / "last.pt").training["settings"])["amp"] == "off"
    files = {"last.pt", "step-00000002.pt", "step-00000002.pt.sha256", "log.jsonl", "curves.png"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == files
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    recipe = json.loads(checkpoint.provenance["recipe"])
    assert (recipe["lr"], recipe["ema"], checkpoint.provenance["seed"]) == (0.001, 0.0, 3)


def test_threads_are_told_to_sleep_before_pytorch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import os; print(os.environ['GOMP_SPINCOUNT']); raise SystemExit\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))}
    child = subprocess.run(
        [sys.executable, "-m", "solo_rt", "train", "--steps", "1"],
        env={**environment, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (child.stdout, child.stderr) == ("1000\n", "")


def test_all_held_out_pictures_can_be_measured(solo: Solo, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "mine", held_out_world(size=(32, 64), length=3))
    run = ("--model", "fast-scnn", "--data", f"folder:{data}", "--recipe", "small", *SMALL, "--out", tmp_path / "run")
    assert solo("train", *run, "--val", "all", "--preview", tmp_path / "sheet.png")[0] == 0
    assert '"val_mIoU": ' in (tmp_path / "run" / "log.jsonl").read_text()
    assert (tmp_path / "sheet.png").is_file()


def test_the_grids_of_a_run_are_those_it_is_measured_exported_and_resumed_with(solo: Solo, tmp_path: Path) -> None:
    grids = (9, 7, 5, 3, 2)
    data = write_coco(tmp_path / "data", images=1, size=(32, 64)).parent
    run = ("--data", f"coco:{data}", *SMALL, "--val", 1, "--preview", tmp_path / "sheet.png", "--out", tmp_path / "run")
    assert solo("train", *run, "--grids", "9,7,5,3,2")[0] == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert static_graph(checkpoint).spec.decoder.grids == grids  # type: ignore[union-attr]
    assert describe_checkpoint(tmp_path / "run" / "last.pt")["grids"] == grids
    code, _, err = solo("train", *run, "--grids", "9,7,5,3,1", "--resume", "auto")
    assert (code, "grids was [9, 7, 5, 3, 2], is (9, 7, 5, 3, 1)" in err) == (2, True)


def test_a_run_goes_on_where_it_was_and_another_is_not_mixed_with_it(solo: Solo, tmp_path: Path) -> None:
    run = (*SMALL, "--out", tmp_path / "run")
    assert solo("train", *run, "--max-steps", 1)[0] == 0
    assert load_checkpoint(tmp_path / "run" / "last.pt").step == 1
    code, _, err = solo("train", *run)
    assert (code, "already holds a run; choose another folder or --resume auto" in err) == (2, True)
    code, _, err = solo("train", *run, "--resume", "auto")
    assert (code, "resumed at step 1" in err) == (0, True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").step == 2


def test_a_damaged_checkpoint_is_passed_over_and_named(solo: Solo, tmp_path: Path) -> None:
    run = (*SMALL, "--out", tmp_path / "run", "--save-every", 1, "--resume", "auto")
    assert solo("train", *run)[0] == 0
    newest = tmp_path / "run" / "step-00000002.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    code, _, err = solo("train", *run)
    assert code == 0
    assert "resumed at step 1" in err
    assert load_checkpoint(newest).step == 2


def test_a_recipe_brings_its_network_unless_another_is_named(solo: Solo, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", held_out_world(size=(32, 64), length=2))
    data = ("--data", f"folder:{folder}", "--recipe", "enet-camvid", "--class-weights", "auto")
    for model, named in (("enet", ()), ("fast-scnn", ("--model", "fast-scnn"))):
        assert solo("train", *named, *data, *SMALL, "--out", tmp_path / model)[0] == 0
        assert load_checkpoint(tmp_path / model / "last.pt").model == model


@pytest.mark.parametrize("model", ["solov2-nano", "fast-scnn"])
def test_training_goes_on_from_other_classes(solo: Solo, tmp_path: Path, model: str) -> None:
    from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
    from solo_rt.train.models import build_model

    save_checkpoint(Checkpoint(model, ("a", "b"), build_model(model, 2).state_dict(), 1, {}, {}), tmp_path / "x.pt")
    code, _, err = solo("train", "--model", model, *SMALL, "--init", tmp_path / "x.pt", "--out", tmp_path / "run")
    assert code == 0
    assert "renewed" in err
    assert load_checkpoint(tmp_path / "run" / "last.pt").model == model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nothing"), "unknown model 'nothing'; expected one of bisenet-r18"),
        (("--val", "some"), "expected a whole number from 0 on, or all, got 'some'"),
        (("--preview", "sheet.jpg"), "--preview sheet.jpg: expected a file that ends in .png"),
        (("--preview", "nowhere/sheet.png"), "there is no folder nowhere"),
        (("--recipe", "nothing"), "--recipe nothing: expected one of solov2-nano"),
        (("--recipe", "pspnet"), "unknown model 'pspnet'; expected one of bisenet-r18"),  # a family: which one?
        (("--steps", 1, "--epochs", 1), "expected --steps or --epochs, got both"),
        (("--phase", "32x64"), "expected HxW:STEPS:BATCH like 256x448:3000:16, got '32x64'"),
        (("--grids", "40"), "--grids: expected 5 numbers of 1 to 128, got (40,)"),
        (("--grids", "40,x"), "expected numbers like 40,36,24,16,12, got '40,x'"),
        (("--phase", "32x64:0:1"), "expected HxW:STEPS:BATCH"),
        (("--data", "nowhere:"), "--data nowhere:"),
        (("--seed", -1), "-1 is not in the range 0<=x<=2147483647"),
        (("--amp", "fp16"), "--amp fp16 needs --device cuda"),
        (("--accumulate", 3), "a batch of 32 cannot be dealt out"),
        (("--imgsz", "100x64"), "expected an input size divisible by 32, got 100x64"),
        (("--resume", "nothing.pt"), "no checkpoint at nothing.pt"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    solo: Solo, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    code, _, err = solo("train", "--workers", 0, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_tensorboard_is_asked_for_by_name(solo: Solo, tmp_path: Path) -> None:
    code, _, err = solo("train", *SMALL, "--out", tmp_path / "run", "--tensorboard")
    assert (code, "--tensorboard needs the package tensorboard" in err) == (2, True)


@pytest.mark.slow
def test_torchrun_starts_the_same_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "solo_rt.train", *SMALL, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert "2 steps on 2 x cpu" in done.stderr
    assert load_checkpoint(tmp_path / "run" / "last.pt").training["processes"] == 2
