"""What is said about labels that would waste a training run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import Solo
from trees import write_png, write_voc

from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.check import MOST_ERRORS, LabelReport, check_labels, shared_pictures

LEGEND = Legend(("floor", "wall", "roof"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def report(*labels: list[list[int]], kind: str = "folder") -> LabelReport:
    pictures = [np.array(rows, np.uint8) for rows in labels]
    names = tuple(f"p{i}" for i in range(len(pictures)))
    data = SemanticSet(kind, LEGEND, names, lambda i: (np.zeros((*pictures[i].shape, 3), np.uint8), pictures[i]))
    return check_labels(data, split="val")


def test_good_labels_are_counted_and_nothing_is_found() -> None:
    found = report([[0, 0, 1]], [[2, 0, 255]])
    assert (found.images, found.usable, found.findings) == (2, True, ())
    assert found.pixels == {"floor": 3, "wall": 1, "roof": 1}
    assert found.occurrences == {"floor": 2, "wall": 1, "roof": 1}
    assert found.ignored == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("labels", "level", "text"),
    [
        ([[0, 1, 2, 7]], "error", "expected labels below 3 or 255, got 7"),
        ([[0, 255, 0]], "error", "nothing but 0 and 255, which is ignored"),
        ([[1, 1]], "error", r"expected several classes, got \['wall'\]"),
        ([[255, 255]], "error", "expected several classes, got none"),
        ([[255, 255]], "warning", "100% of all pixels are ignored"),
        ([[0, 1]], "warning", "no pixel of roof: their IoU will be undefined"),
    ],
)
def test_bad_labels_are_found(labels: list[list[int]], level: str, text: str) -> None:
    found = report(labels)
    assert any(re.search(text, finding.text) for finding in found.findings if finding.level == level)
    assert found.usable == (level == "warning" and labels != [[255, 255]])


def test_pictures_that_cannot_be_read_are_named_but_not_all(tmp_path: Path) -> None:
    labels = np.zeros((2, 3), np.uint8)
    names = tuple(f"p{i}" for i in range(MOST_ERRORS + 4))
    data = SemanticSet("folder", LEGEND, names, lambda i: (np.zeros((2, 2, 3), np.uint8), labels))
    found = check_labels(data, split="val")
    assert (found.images, found.usable) == (0, False)
    assert "folder p0: expected a picture and labels of one size" in found.findings[0].text
    assert found.findings[MOST_ERRORS].text == "4 more pictures like these"


def test_published_numbers_of_pictures_are_known() -> None:
    found = report([[0, 1, 2]], kind="voc")
    assert [f.text for f in found.findings] == ["expected the 1,449 pictures that were published, got 1"]
    assert found.usable


def test_the_command_checks_both_parts(tmp_path: Path, solo: Solo) -> None:
    write_voc(tmp_path / "voc", {"train": ["a", "b"], "val": ["b"]}, np.arange(24, dtype=np.uint8).reshape(4, 6) % 21)
    code, out, _ = solo("check-labels", f"voc:{tmp_path / 'voc'}")
    assert code == 0
    assert f"2 pictures of voc:{tmp_path / 'voc'} train, 0.0% of the pixels ignored" in out
    assert "tvmonitor" in out
    assert "warning: 1 names are in both train and val, such as b" in out
    for folder, values in {"images": np.zeros((4, 4, 3), np.uint8), "labels": np.eye(4, dtype=np.uint8) * 255}.items():
        write_png(tmp_path / "mine" / folder / "a.png", values)
    code, out, _ = solo("check-labels", f"folder:{tmp_path / 'mine'}", "--json")
    record = json.loads(out)
    assert (code, record["in_both_parts"]) == (1, ["a"])
    assert [part["split"] for part in record["parts"]] == ["train and val"]
    assert '"ids": [0, 255]' in record["parts"][0]["findings"][0]["text"]
    for part in ("train", "val"):  # of the same names, but not the same pictures
        write_png(tmp_path / "two" / "images" / part / "a.png", np.zeros((4, 4, 3), np.uint8))
        write_png(tmp_path / "two" / "labels" / part / "a.png", np.eye(4, dtype=np.uint8))
    record = json.loads(solo("check-labels", f"folder:{tmp_path / 'two'}", "--json")[1])
    assert [part["split"] for part in record["parts"]] == ["train", "val"]


def test_pictures_in_two_parts_are_found() -> None:
    parts = [
        SemanticSet("x", LEGEND, names, lambda i: (np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)))
        for names in (("a", "b"), ("b", "c"))
    ]
    assert shared_pictures(parts) == ["b"]
    assert shared_pictures(parts[:1]) == []
