"""Checkpoints: whole or not there, checked on the way in, the last few kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from solo_rt.errors import SinkError, UsageError
from solo_rt.train.checkpoint import (
    Checkpoint,
    holds_run,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    save_step,
)


def make(step: int = 1) -> Checkpoint:
    return Checkpoint("solov2-nano", ("a", "b"), {"w": torch.full((3,), float(step))}, step, {}, {})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(make(7), tmp_path / "x.pt")
    back = load_checkpoint(tmp_path / "x.pt")
    assert (back.model, back.classes, back.step) == ("solov2-nano", ("a", "b"), 7)
    assert torch.equal(back.weights["w"], make(7).weights["w"])
    assert names(tmp_path) == {"x.pt", "x.pt.sha256"}
    save_checkpoint(make(8), tmp_path / "x.pt")
    assert load_checkpoint(tmp_path / "x.pt").step == 8


def test_the_digest_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "x.pt")
    subprocess.run(["sha256sum", "--check", "--quiet", "x.pt.sha256"], cwd=tmp_path, check=True)


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(make(), path)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 1013):
        flip(path, bit)
        with pytest.raises(UsageError, match=r"x.pt is damaged: its SHA-256 is not that in x.pt.sha256"):
            load_checkpoint(path)
        path.write_bytes(whole)
    path.with_name("x.pt.sha256").unlink()  # a copy that came without its digest is still a checkpoint
    assert load_checkpoint(path).step == 1


def test_files_of_the_first_format_are_still_read(tmp_path: Path) -> None:
    record = {"format": 1, **{name: getattr(make(), name) for name in Checkpoint.__slots__}}
    torch.save(record, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").step == 1
    torch.save(record | {"format": 3}, tmp_path / "new.pt")
    with pytest.raises(UsageError, match="format 1 to 2"):
        load_checkpoint(tmp_path / "new.pt")


def test_a_run_keeps_its_last_checkpoints_and_a_link_to_the_newest(tmp_path: Path) -> None:
    assert not holds_run(tmp_path)
    for step in (5, 10, 15):
        save_step(make(step), tmp_path, keep=2)
        assert holds_run(tmp_path)
        assert load_checkpoint(tmp_path / "last.pt").step == step
    kept = {f"step-{step:08d}.pt" for step in (10, 15)}
    assert names(tmp_path) == kept | {f"{name}.sha256" for name in kept} | {"last.pt"}


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


def test_what_a_killed_run_left_of_a_write_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    for name in (".step-00000001.pt.0123abcd.part", ".step-00000001.pt.sha256.0123abcd.part", ".last.pt.0123abcd.part"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".theirs.part").touch()
    save_step(make(1), tmp_path, keep=1)
    kept = {"step-00000001.pt", "step-00000001.pt.sha256", "last.pt", ".theirs.part"}
    assert names(tmp_path) == kept


def test_the_newest_whole_checkpoint_is_found_and_the_others_are_named(tmp_path: Path) -> None:
    damaged: list[str] = []
    assert newest_checkpoint(tmp_path, damaged.append) is None
    paths = [save_step(make(step), tmp_path, keep=9) for step in (1, 2, 3, 4)]
    assert newest_checkpoint(tmp_path, damaged.append) == paths[3]
    assert damaged == []
    paths[3].write_bytes(paths[3].read_bytes()[:100])  # torn
    flip(paths[2], 4000)
    paths[1].with_name(paths[1].name + ".sha256").unlink()  # killed before its digest was written
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
