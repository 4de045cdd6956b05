"""`solo-rt bench compare`: the ratio of two runs, how sure it is, and what cannot be compared."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest

from solo_rt.bench.comparison import compare
from solo_rt.bench.ratio import Ratio, compare_rates
from solo_rt.bench.schema import mistakes
from solo_rt.errors import UsageError

LAYER = {"what": "x", "fps": 10.0, "laps": [9.0, 10.0, 11.0], "frames": 30, "seconds": 3.0, "stable": True}
RECORD = {
    "version": 1,
    "taken_at": "2026-01-01T00:00:00+00:00",
    "unreliable": [],
    "model": {
        "name": "m", "file": "m.onnx", "sha256": "aa", "height": 32, "width": 64, "decoder": "solov2", "metrics": {},
        "costs": {},
    },
    "clip": {"name": "a.mp4", "sha256": "cc", "width": 80, "height": 48, "frame_rate": 30.0},
    "asked": {"backend": "auto", "device": "auto", "precision": "auto", "quick": False},
    "engine": "e",
    "thresholds": {"conf": 0.25, "max_det": 100},
    "machine": {
        "cpu": "c", "flags": [], "cores": 2, "allowed_cores": 2, "usable_cores": 2, "system": "s",
        "versions": {"solo-rt": "1"}, "load": {"before": [0.0], "after": [0.0], "others": 0.0},
    },
    "energy": [],
    "opening": {"engine_s": 1.0, "first_frame_s": 1.0},
    "layers": {"network": LAYER, "live": {**LAYER, "highest_fps": 40.0}},
}  # fmt: skip


def changed(**changes):
    """Return the record with other values in its parts, `model__name` in the part model."""
    record = copy.deepcopy(RECORD)
    for name, value in changes.items():
        part, _, key = name.rpartition("__")
        (record[part] if part else record)[key] = value
    return record


def test_the_record_of_these_tests_is_one():
    assert list(mistakes(RECORD)) == []


def test_the_ratio_and_its_interval_are_those_of_welch():
    # Logarithms 0, 1, 2 and 3, 5: means 1 and 4, variances 1 and 2; error 4/3, freedom (4/3)^2 / (1/18 + 1) = 1.68.
    found = compare_rates([math.exp(x) for x in (0, 1, 2)], [math.exp(x) for x in (3, 5)])
    half = 12.706 * math.sqrt(4 / 3)
    assert found.value == pytest.approx(math.exp(3))
    assert (found.low, found.high) == pytest.approx((math.exp(3 - half), math.exp(3 + half)))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        first, second = np.exp(rng.normal(0, 0.1, 5)), 2 * np.exp(rng.normal(0, 0.03, 4))
        ratio = compare_rates(first.tolist(), second.tolist())
        held += ratio.low < 2 < ratio.high
    assert 0.93 <= held / 400 <= 0.99


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.2, 1.1, 1.3), "faster"),
        (Ratio(0.9, 0.8, 0.99), "slower"),
        (Ratio(1.1, 0.9, 1.3), "no difference shown"),
        (Ratio(2.0), "not known"),
    ],
)
def test_a_verdict_is_given_only_where_the_interval_has_one(ratio, verdict):
    assert ratio.verdict == verdict


def test_laps_that_are_all_the_same_are_sure():
    assert compare_rates([10.0] * 3, [20.0] * 3) == Ratio(pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_two_runs_are_shown_side_by_side():
    faster = changed(layers={"network": {**LAYER, "laps": [19.0, 20.0, 21.0]}, "model": LAYER}, unreliable=["hot"])
    shown = compare(RECORD, faster)
    (row,) = [line for line in shown.splitlines() if line.startswith("| network")]
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["10.0", "20.0", "2.005"]
    assert "faster" in row
    assert "only in one of them: live, model" in shown
    assert "B is **unreliable**: hot" in shown
    assert "| live, at most |       40.0 |" in compare(RECORD, RECORD)


def test_the_highest_rates_of_live_sources_are_compared_by_their_searches():
    def searched(*rates):
        return changed(layers={"live": {**LAYER, "highest_fps": sum(rates) / 3, "highest_laps": list(rates)}})

    faster = compare(searched(38.0, 40.0, 42.0), searched(78.0, 80.0, 82.0))
    assert "faster" in next(line for line in faster.splitlines() if line.startswith("| live, at most"))
    earlier = compare(RECORD, searched(78.0, 80.0, 82.0))
    assert "not known" in next(line for line in earlier.splitlines() if line.startswith("| live, at most"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model__name": "n"}, "the models are m and n"),
        ({"model__width": 96}, "the inputs of the models are 64x32 and 96x32"),
        ({"model__sha256": "bb"}, "the files of m are not the same"),
        ({"clip__sha256": "dd"}, "the clips are a.mp4 (80x48, cc) and a.mp4 (80x48, dd)"),
        ({"thresholds__conf": 0.5}, "the thresholds are not the same"),
    ],
)
def test_other_work_is_refused_unless_it_is_to_be_compared_anyway(changes, complaint):
    with pytest.raises(UsageError) as error:
        compare(RECORD, changed(**changes))
    assert complaint in str(error.value)
    assert f"**cannot be compared**: {complaint}" in compare(RECORD, changed(**changes), anyway=True)


def test_a_clip_that_others_make_as_well_is_known_by_its_recipe():
    first, second = (changed(clip__name="test://?seed=7", clip__sha256=digest) for digest in ("cc", "dd"))
    assert "cannot" not in compare(first, second)
    with pytest.raises(UsageError, match="the clips are"):
        compare(changed(clip__sha256=""), changed(clip__sha256=""))


def test_the_command_is_typed_in_two_words(solo, tmp_path):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path, record in zip(paths, (RECORD, changed(clip__sha256="dd")), strict=True):
        path.write_text(json.dumps(record))
    code, out, err = solo("bench", "compare", paths[0], paths[0])
    assert (code, "| network" in out, err) == (0, True, "")
    code, out, err = solo("bench", "compare", *paths)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert solo("bench", "compare", *paths, "--anyway")[0] == 0
    code, _, err = solo("bench", "compare", paths[0])
    assert (code, "(see solo-rt bench compare --help)" in err) == (2, True)
