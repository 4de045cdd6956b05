"""Tables show the names that others gave as they are, and nothing in them is an order to the terminal."""

from __future__ import annotations

import pytest
from fakes import FakeEngine, FakeSource

from solo_rt.commands.summary import sum_up
from solo_rt.commands.tables import print_label_report
from solo_rt.pipeline import Pipeline

NAMES = ["[/red] closed", "[a] opened", ":car: of rich", "\x1b[2J\x9b2J cleared"]
SHOWN = ["[/red] closed", "[a] opened", ":car: of rich", "�[2J�2J cleared"]


def test_names_of_classes(capsys: pytest.CaptureFixture[str]) -> None:
    print_label_report("4 pictures", [(name, 1, 1) for name in NAMES], [])
    assert [row.split("  ")[0] for row in capsys.readouterr().out.splitlines()[2:]] == SHOWN


def test_names_of_sources(capsys: pytest.CaptureFixture[str]) -> None:
    report = Pipeline(None, FakeEngine(), sources={name: FakeSource(2) for name in NAMES}).run()
    assert sum_up(report, [], quiet=False, as_json=False) == 0
    assert [row.split("  ")[0] for row in capsys.readouterr().out.splitlines()[1:]] == SHOWN
