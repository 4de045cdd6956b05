"""An evaluation in parts, of whose processes one dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from solo_rt.commands import evaluation
from solo_rt.commands.evaluation import Evaluation
from solo_rt.errors import EngineError
from solo_rt.train.evaluate.shards import Findings, Subject, write_part

TOTAL = 3


def find(told: Evaluation, shard, file: Path, cores, connection) -> None:
    """Say and write what a process does for a part; the second part's dies as often as its folder says.

    It dies as well where it may choose another engine than the first.
    """
    assert (told.backend, told.precision) == (("auto", "auto") if shard.part == 1 else ("openvino", "int8"))
    connection.send("openvino cpu, 2 threads, int8, bf16")
    connection.send((0, TOTAL))
    deaths = Path(told.subject.data)
    if shard.part == 2 and len(list(deaths.iterdir())) < int(deaths.name):
        (deaths / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    connection.send((TOTAL, TOTAL))
    write_part(file, shard, Findings("d", "val", None, "m", "p", ("cat",), (), left_out=(shard.part,)))
    connection.send(None)


def evaluate(folder: Path, monkeypatch: pytest.MonkeyPatch, *, deaths: int):
    (folder / str(deaths)).mkdir()
    monkeypatch.setattr(evaluation, "_work", find)
    subject = Subject(str(folder / str(deaths)), "val", None, "m")
    told = Evaluation(subject, semantic=False, backend="auto", device="cpu", precision="auto", trusted=False)
    seen: list[tuple[int, int]] = []
    return told.find_in_parts(3, lambda done, total: seen.append((done, total))), seen


def test_a_part_whose_process_was_killed_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = evaluate(tmp_path, monkeypatch, deaths=1)
    assert found.left_out == (1, 2, 3)
    assert seen[-1] == (3 * TOTAL, 3 * TOTAL)


def test_a_part_of_which_two_processes_died_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="part 2 of 3: two processes that worked on it died"):
        evaluate(tmp_path, monkeypatch, deaths=2)
