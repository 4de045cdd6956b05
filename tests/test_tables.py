"""Tables show the names that others gave as they are, and nothing in them is an order to the terminal."""

from __future__ import annotations

import math

import pytest
from fakes import FakeEngine, FakeSource

from solo_rt.commands.summary import sum_up
from solo_rt.commands.tables import print_label_report, print_semantic_scores
from solo_rt.pipeline import Pipeline
from solo_rt.train.evaluate.semantic import ClassScore, SemanticScores

NAMES = ["[/red] closed", "[a] opened", ":car: of rich", "\x1b[2J\x9b2J cleared"]
SHOWN = ["[/red] closed", "[a] opened", ":car: of rich", "�[2J�2J cleared"]


def test_names_of_classes(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [("error", f"{name} is nowhere") for name in NAMES]
    print_label_report(NAMES[-1], [(name, 1, 1) for name in NAMES], findings)
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == SHOWN[-1]
    assert [row.split("  ")[0] for row in rows[: len(NAMES)]] == SHOWN
    assert rows[len(NAMES) :] == [f"error: {name} is nowhere" for name in SHOWN]


def test_names_of_sources(capsys: pytest.CaptureFixture[str]) -> None:
    report = Pipeline(None, FakeEngine(), sources={name: FakeSource(2) for name in NAMES}).run()
    assert sum_up(report, [], quiet=False, as_json=False) == 0
    assert [row.split("  ")[0] for row in capsys.readouterr().out.splitlines()[1:]] == SHOWN


def test_shares_are_shown_and_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """COCO's measures are -1 where no object has such a size."""
    scores = {"sky": ClassScore(0.25, 1.0, 3), "car": ClassScore(0.0, -1.0, 2), "sign": ClassScore(math.nan, 0.5, 0)}
    print_semantic_scores(SemanticScores("folder", 1, "as they are", {"mIoU": 0.125}, scores, {}))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1:3] == [["mIoU"], ["0.125"]]
    assert rows[4:] == [["sky", "0.250", "1.000", "3"], ["car", "0.000", "-", "2"], ["sign", "-", "0.500", "0"]]
