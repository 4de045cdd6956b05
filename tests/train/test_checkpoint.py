"""Checkpoints: whole or not there, checked on the way in, the last few kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Solo
from torch import nn

from solo_rt.errors import SinkError, UsageError
from solo_rt.train.checkpoint import (
    Checkpoint,
    holds_run,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    save_step,
)
from solo_rt.train.models import BUILDERS


class Toy(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(classes + 1))


@pytest.fixture(autouse=True)
def _with_a_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS, "toy", Toy)


def make(step: int = 1) -> Checkpoint:
    return Checkpoint("toy", ("a", "b"), {"w": torch.full((3,), float(step))}, step, {}, {})


def record(version: int) -> dict[str, Any]:
    return {"format": version, **{name: getattr(make(), name) for name in Checkpoint.__slots__}}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(make(7), tmp_path / "x.pt")
    back = load_checkpoint(tmp_path / "x.pt")
    assert (back.model, back.classes, back.step) == ("toy", ("a", "b"), 7)
    assert torch.equal(back.weights["w"], make(7).weights["w"])
    assert names(tmp_path) == {"x.pt", "x.pt.sha256"}
    save_checkpoint(make(8), tmp_path / "x.pt")
    assert load_checkpoint(tmp_path / "x.pt").step == 8


def test_the_digest_of_a_file_whose_name_is_no_utf8_is_what_sha256sum_reads(tmp_path: Path) -> None:
    save_checkpoint(make(7), tmp_path / "caf\udce9.pt")
    assert load_checkpoint(tmp_path / "caf\udce9.pt").step == 7
    checked = subprocess.run(["sha256sum", "-c", "caf\udce9.pt.sha256"], cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_checkpoint_and_its_digest_are_on_the_disk_at_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda at: synced.append(Path(f"/proc/self/fd/{at}").readlink().name))
    save_checkpoint(make(), tmp_path / "x.pt")
    kinds = ["folder" if name == tmp_path.name else "digest" if ".sha256." in name else "file" for name in synced]
    assert kinds == ["file", "folder", "digest", "folder"]


def test_the_digest_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "x.pt")
    subprocess.run(["sha256sum", "--check", "--quiet", "x.pt.sha256"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("beside", [True, False])
def test_any_flipped_bit_is_noticed(beside: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(make(), path)
    if not beside:
        path.with_name("x.pt.sha256").unlink()  # a copy that came without its digest is still a checkpoint
    assert load_checkpoint(path).step == 1
    whole = path.read_bytes()
    last = range(8 * (len(whole) - 120), 8 * len(whole), 5)  # where the archive ends with its hash
    for bit in (*range(0, 8 * len(whole), 1013), *last):
        flip(path, bit)
        with pytest.raises(UsageError, match=r"x.pt is damaged|not a readable checkpoint"):
            load_checkpoint(path)
        path.write_bytes(whole)


def test_a_checkpoint_ends_with_the_hash_of_all_before(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    assert content[-64:].decode() == hashlib.sha256(content[: -len(b"solo-rt sha256 ") - 64]).hexdigest()
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:  # which other readers see as a comment
        assert archive.comment == content[-79:]
        assert archive.testzip() is None


def test_files_of_older_formats_are_still_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for version in (1, 2):
        torch.save(record(version), tmp_path / "old.pt")
        assert load_checkpoint(tmp_path / "old.pt").step == 1
        assert "old.pt is of an older format and has no SHA-256 beside it" in caplog.text
        caplog.clear()
    torch.save(record(4), tmp_path / "new.pt")
    with pytest.raises(UsageError, match="format 1 to 3, got 4"):
        load_checkpoint(tmp_path / "new.pt")
    torch.save(record(3), tmp_path / "open.pt")
    with pytest.raises(UsageError, match="the SHA-256 at its end is missing"):
        load_checkpoint(tmp_path / "open.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {}}, r"expected the 1 tensors of toy for 2 classes, got 1 missing \(w \.\.\.\)"),
        ({"weights": {"w": torch.zeros(3), "x": torch.zeros(1)}}, r"got 1 unknown \(x \.\.\.\)"),
        ({"weights": {"w": torch.zeros(4)}}, r"got 1 of another shape \(w \.\.\.\)"),
        ({"weights": {"w": torch.zeros(3, device="meta")}}, "expected weights to be tensors by name"),
        ({"weights": {"w": 3}}, "expected weights to be tensors by name"),
        ({"classes": ("a", "b", "c")}, "of toy for 3 classes"),
        ({"classes": ("a", "a")}, r"expected classes to be distinct names, got \('a', 'a'\)"),
        ({"classes": 7}, "expected classes to be distinct names, got 7"),
        ({"model": "yolo"}, "expected a network that solo-rt knows, got 'yolo'"),
        ({"model": 3}, "expected model to be the name of a network, got 3"),
        ({"step": -1}, "expected step to be a number of steps, got -1"),
        ({"training": None}, "expected training to be a dictionary"),
        ({"imgsz": (1 << 20, 1 << 20)}, "expected imgsz to be height and width of at most 16777216 pixels"),
        ({"imgsz": (0, 32)}, "expected imgsz"),
        ({"provenance": {"recipe": 3}}, "expected provenance to be the fields of a provenance, got {'recipe': 3}"),
        ({"provenance": {"friend": "x"}}, "expected provenance"),
        ({"mean": (1.0, 2.0)}, "expected mean to be three numbers"),
        ({"std": (1.0, 2.0, 0.0)}, "expected std to be three positive numbers"),
        ({"std": (1.0, 2.0, float("nan"))}, "expected std to be three positive numbers"),
        ({"palette": ((1, 2, 3),)}, "expected no palette or a colour per class, got 1 for 2 classes"),
        ({"palette": ((1, 2, 300), (1, 2, 3))}, "expected palette to be colours"),
        ({"grids": ("a",)}, "expected grids to be numbers of cells"),
        ({"palette": 4}, "expected palette to be colours"),
        ({"unpainted": ("a",)}, "expected unpainted to be numbers of classes"),
    ],
)
def test_what_is_no_checkpoint_of_ours_is_named_with_what_is_wrong(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    torch.save(record(2) | changes, tmp_path / "x.pt")
    with pytest.raises(UsageError, match=f"x.pt is not a solo-rt checkpoint: .*{message}"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_checkpoint_that_lacks_a_field_is_named(tmp_path: Path) -> None:
    for name in ("model", "weights", "step", "provenance"):
        torch.save({key: value for key, value in record(2).items() if key != name}, tmp_path / "x.pt")
        with pytest.raises(UsageError, match=f"x.pt is not a solo-rt checkpoint: expected {name}, there is none"):
            load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    save_checkpoint(replace(make(), weights={"w": torch.tensor([0.0, value, 1.0])}), tmp_path / "x.pt")
    with pytest.raises(UsageError, match="expected finite weights, got others in 1 tensors, such as w"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_run_keeps_its_last_checkpoints_and_a_link_to_the_newest(tmp_path: Path) -> None:
    assert not holds_run(tmp_path)
    for step in (5, 10, 15):
        save_step(make(step), tmp_path, keep=2)
        assert holds_run(tmp_path)
        assert load_checkpoint(tmp_path / "last.pt").step == step
    kept = {f"step-{step:08d}.pt" for step in (10, 15)}
    assert names(tmp_path) == kept | {f"{name}.sha256" for name in kept} | {"last.pt"}


def test_either_a_checkpoint_or_its_link_tells_of_a_run(tmp_path: Path) -> None:
    step = save_step(make(5), tmp_path, keep=2)
    (tmp_path / "last.pt").unlink()  # killed before the link was there
    assert holds_run(tmp_path)
    step.rename(tmp_path / "mine.pt")
    (tmp_path / "last.pt").symlink_to("mine.pt")
    assert holds_run(tmp_path)


def test_an_old_checkpoint_goes_when_the_links_to_the_new_one_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_step(make(1), tmp_path, keep=1, best=True)
    done: list[str] = []
    sync, rename, remove = os.fsync, Path.replace, Path.unlink

    def spy_sync(descriptor: int) -> None:
        done.append("synced" if Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path else "")
        sync(descriptor)

    def spy_rename(path: Path, target: Path) -> Path:
        done.append(target.name)
        return rename(path, target)

    def spy_remove(path: Path, missing_ok: bool = False) -> None:
        done.append("removed" if path.name == "step-00000001.pt" else "")
        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_rename)
    monkeypatch.setattr(Path, "unlink", spy_remove)
    save_step(make(2), tmp_path, keep=1, best=True)
    told = [word for word in done if word in ("synced", "last.pt", "best.pt", "removed")]
    assert told[-5:] == ["last.pt", "synced", "best.pt", "synced", "removed"]


def test_the_best_checkpoint_outlives_newer_ones(tmp_path: Path) -> None:
    for step, best in ((1, True), (2, True), (3, False), (4, False)):
        save_step(make(step), tmp_path, keep=1, best=best)
    assert {path.name for path in tmp_path.glob("*.pt")} == {
        "step-00000002.pt",
        "step-00000004.pt",
        "best.pt",
        "last.pt",
    }
    assert [load_checkpoint(tmp_path / name).step for name in ("best.pt", "last.pt")] == [2, 4]


def test_what_is_written_stays_before_later_checkpoints_of_a_run_that_began_again(tmp_path: Path) -> None:
    for step in (8, 9, 1, 2, 3):
        save_step(make(step), tmp_path, keep=2)
        assert load_checkpoint(tmp_path / "last.pt").step == step
    assert [path.stem for path in sorted(tmp_path.glob("step-*.pt"))] == [f"step-{n:08d}" for n in (2, 3, 8, 9)]


def test_what_a_killed_run_left_of_a_write_goes_when_it_is_resumed(tmp_path: Path) -> None:
    for name in (".step-00000001.pt.0123abcd.part", ".step-00000001.pt.sha256.0123abcd.part", ".last.pt.0123abcd.part"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".theirs.part").touch()
    kept = save_step(make(1), tmp_path, keep=1)
    assert newest_checkpoint(tmp_path, lambda why: None) == kept
    assert names(tmp_path) == {kept.name, f"{kept.name}.sha256", "last.pt", ".theirs.part"}


def test_the_newest_whole_checkpoint_is_found_and_the_others_are_named(tmp_path: Path) -> None:
    damaged: list[str] = []
    assert newest_checkpoint(tmp_path, damaged.append) is None
    paths = [save_step(make(step), tmp_path, keep=9) for step in (1, 2, 3, 4)]
    assert newest_checkpoint(tmp_path, damaged.append) == paths[3]
    assert damaged == []
    paths[3].write_bytes(paths[3].read_bytes()[:100])  # torn
    flip(paths[2], 4000)
    torch.save(record(2), paths[1])  # of an older solo-rt, killed before its digest was written
    paths[1].with_name(paths[1].name + ".sha256").unlink()
    assert newest_checkpoint(tmp_path, damaged.append) == paths[0]
    assert ["4.pt is damaged" in damaged[0], "3.pt is damaged" in damaged[1], "2.pt has no" in damaged[2]] == [True] * 3
    save_step(make(4), tmp_path, keep=9)  # the run comes by again
    assert newest_checkpoint(tmp_path, damaged.append) == paths[3]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(make(1), tmp_path / "x.pt")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(os, "fsync", fail) if name == "fsync" else patch.setattr(Path, "replace", fail)
            with pytest.raises(SinkError, match=r"cannot write checkpoint .*x.pt.*No space left"):
                save_checkpoint(make(2), tmp_path / "x.pt")
        assert load_checkpoint(tmp_path / "x.pt").step == 1
        assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_none_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write checkpoint"):
        save_checkpoint(make(), tmp_path / "file" / "x.pt")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code was run",))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"format": 2, "weights": Malicious()}, tmp_path / "x.pt")
    with pytest.raises(UsageError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "x.pt")
    assert capsys.readouterr().out == ""


def test_inspect_shows_a_checkpoint(tmp_path: Path, solo: Solo) -> None:
    path = tmp_path / "x.pt"
    training = {"recipe": "{}", "best": 0.25}
    provenance = {"seed": 5, "command": "solo-rt train", "metrics": {"AP": 0.5}}
    save_checkpoint(replace(make(9), training=training, provenance=provenance, imgsz=(32, 64)), path)
    code, out, err = solo("inspect", path)
    assert (code, err) == (0, "")
    shown = {name: value.strip() for name, _, value in (line.partition("  ") for line in out.splitlines())}
    assert shown["model"] == f"toy, 3 parameters, {path.stat().st_size / 1e6:.1f} MB"
    assert (shown["input"], shown["classes"]) == ("32x64", "2: a, b")
    assert (shown["trained"], shown["best measured"]) == ("9 steps, can be resumed", "0.2500")
    assert (shown["command"], shown["seed"], shown["metrics"]) == ("solo-rt train", "5", "AP 0.500")
    code, out, _ = solo("inspect", path, "--json")
    card = json.loads(out)
    assert (card["name"], card["classes"], card["imgsz"], card["step"]) == ("toy", ["a", "b"], [32, 64], 9)
    save_checkpoint(make(), path)
    _, out, _ = solo("inspect", path)
    assert "the network's own size" in out
    assert "1 steps\n" in out


def test_a_file_of_others_is_named_with_what_reads_it(tmp_path: Path, solo: Solo) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "yolo.pt")
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "weights.pt")
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "weights.pth")
    for name in ("yolo.pt", "weights.pt", "weights.pth"):
        code, out, err = solo("inspect", tmp_path / name)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert name in err
        assert "import-weights" in err
    code, _, err = solo("inspect", "")
    assert code == 2
    assert "expected a model file or the name of a model (" in err
