"""What reaches pycocotools: valid records unchanged, and none of the others."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from solo_rt.train.data.instances.masks import Polygons, unpack_counts
from solo_rt.train.data.instances.records import (
    BadRecord,
    check_category,
    check_object,
    check_picture,
    check_segmentation,
)

SIZE = (20, 30)
SIZES = {5: SIZE}
TRIANGLE = [[2.0, 3.0, 20.5, 4.25, 9.0, 18.75]]
RECORD = {
    "id": 0,
    "image_id": 5,
    "category_id": 90,
    "bbox": [2.0, 3.0, 18.5, 15.75],
    "area": 140.0,
    "iscrowd": 0,
    "segmentation": TRIANGLE,
}
ONE_RUN = {"size": [20, 30], "counts": [600]}


def random_mask(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asfortranarray(rng.random(size) < rng.choice([0, 0.02, 0.5, 1]), np.uint8)


def runs_of(mask: np.ndarray) -> list[int]:
    """Return the run lengths the obvious way, starting with the zeros."""
    runs, colour = [0], 0
    for pixel in mask.ravel(order="F").tolist():
        if pixel != colour:
            runs.append(0)
            colour = pixel
        runs[-1] += 1
    return runs


def reason(record: object) -> str:
    with pytest.raises(BadRecord) as raised:
        check_object(record, SIZES, frozenset({90}))
    return str(raised.value)


def test_valid_object_keeps_its_numbers():
    found = check_object(RECORD, SIZES, frozenset({90}))
    assert found[:6] == (0, 5, 90, (2.0, 3.0, 20.5, 18.75), 140.0, False)
    assert found.segmentation.rle(SIZE) == coco_mask.merge(coco_mask.frPyObjects(TRIANGLE, *SIZE))


@pytest.mark.parametrize("area", [0, -1, 0.0])
def test_an_area_that_cannot_be_is_that_of_the_mask(area):
    found = check_object(RECORD | {"area": area}, SIZES, frozenset({90}))
    assert found.area == coco_mask.area(found.segmentation.rle(SIZE)) > 0


def test_what_many_files_leave_out_has_a_value():
    record = {name: RECORD[name] for name in ("image_id", "category_id", "bbox", "segmentation")}
    found = check_object(record, SIZES, frozenset({90}))
    assert (found.id, found.crowd) == (None, False)
    assert found.area == coco_mask.area(found.segmentation.rle(SIZE)) > 0


@pytest.mark.parametrize("seed", range(40))
def test_run_lengths_of_both_forms_give_the_mask(seed):
    mask = random_mask(seed)
    code = coco_mask.encode(mask)
    assert unpack_counts(code["counts"]).tolist() == runs_of(mask)
    for counts in (code["counts"].decode(), runs_of(mask)):
        found = check_segmentation({"size": [20, 30], "counts": counts}, SIZE)
        assert found.rle(SIZE) == code


def test_long_runs_and_large_differences_are_read():
    for size in ((3000, 4000), (1, 1), (16383, 16383)):
        total = size[0] * size[1]
        for counts in (
            [total],
            [0, total],
            [total // 2, 1, total - total // 2 - 1][: 3 if total > 2 else 0] or [total],
        ):
            packed = coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]
            assert unpack_counts(packed).tolist() == counts


def test_empty_runs_inside_are_removed():
    found = check_segmentation({"size": [20, 30], "counts": [100, 0, 0, 50, 20, 0, 430]}, SIZE)
    assert unpack_counts(found.counts).tolist() == [100, 50, 450]
    assert unpack_counts(check_segmentation({"size": [20, 30], "counts": [0, 0, 0, 600]}, SIZE).counts).tolist() == [
        0,
        600,
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"segmentation": None}, "neither polygons nor a run-length code"),
        ({"segmentation": []}, "without a polygon"),
        ({"segmentation": [[]]}, "fewer than three points"),
        ({"segmentation": [[1, 2, 3, 4]]}, "fewer than three points"),  # pycocotools takes it for a box
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "half a point"),
        ({"segmentation": [TRIANGLE[0], [1, 1, 2, 2]]}, "fewer than three points"),
        ({"segmentation": [["1", 2, 3, 4, 5, 6]]}, "not of numbers"),
        ({"segmentation": [[True, 2, 3, 4, 5, 6]]}, "not of numbers"),
        ({"segmentation": [[1, 2, math.nan, 4, 5, 6]]}, "not finite"),
        ({"segmentation": [[1, 2, math.inf, 4, 5, 6]]}, "not finite"),
        ({"segmentation": [[1, 2, 1e9, 4, 5, 6]]}, "far outside"),
        ({"segmentation": [[1, 2, 3, -21, 5, 6]]}, "far outside"),
        ({"segmentation": [[1, 2, 10**400, 4, 5, 6]]}, "far outside"),
        ({"segmentation": {"counts": [600]}}, "another size"),
        ({"segmentation": ONE_RUN | {"size": [30, 20]}}, "another size"),
        ({"segmentation": ONE_RUN | {"size": [2**40, 30]}}, "another size"),
        ({"segmentation": ONE_RUN | {"counts": None}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": []}}, "does not fill"),
        ({"segmentation": ONE_RUN | {"counts": [599]}}, "does not fill"),
        ({"segmentation": ONE_RUN | {"counts": [601]}}, "does not fill"),
        ({"segmentation": ONE_RUN | {"counts": [700, -100]}}, "does not fill"),
        ({"segmentation": ONE_RUN | {"counts": [2**70]}}, "does not fill"),
        ({"segmentation": ONE_RUN | {"counts": [600.0]}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": [True, 599]}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": ""}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": "héé"}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": "ooooooooooooooo"}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": "ooooooooooooooo0"}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": "hb0P"}}, "cannot be read"),
        ({"segmentation": ONE_RUN | {"counts": "1"}}, "does not fill"),
        ({"image_id": 6}, "unknown picture"),
        ({"image_id": "5"}, "not a whole number"),
        ({"image_id": True}, "not a whole number"),
        ({"category_id": 1}, "unknown category"),
        ({"category_id": 2**80}, "not a whole number"),
        ({"id": "a"}, "not a whole number"),
        ({"iscrowd": 2}, "iscrowd"),
        ({"iscrowd": "0"}, "iscrowd"),
        ({"bbox": [1, 2, 3]}, "not four numbers"),
        ({"bbox": [1, 2, 3, math.nan]}, "not four numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "not four numbers"),
        ({"bbox": "1234"}, "not four numbers"),
        ({"bbox": [1, 2, -3, 4]}, "impossible size"),
        ({"area": math.inf}, "impossible area"),
    ],
)
def test_bad_object_is_refused_with_its_reason(change, expected):
    assert expected in reason(RECORD | change)


def test_outline_that_would_fill_the_memory_is_refused():
    zigzag = [[0.0, 0.0, 29000.0, 0.0] * 2000]
    with pytest.raises(BadRecord, match="too long an outline"):
        check_segmentation(zigzag, (9000, 29000))


@pytest.mark.parametrize("record", [None, 1, [], "x", {}, {"id": 1, "image_id": 5}])
def test_what_is_no_object_is_refused(record):
    assert reason(record) == "annotation without image_id, category_id, bbox, segmentation"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"file_name": "/etc/passwd"}, "outside its folder"),
        ({"file_name": "../a.jpg"}, "outside its folder"),
        ({"file_name": "a/../../b.jpg"}, "outside its folder"),
        ({"file_name": "a\\..\\..\\b.jpg"}, "outside its folder"),
        ({"file_name": "C:\\a.jpg"}, "outside its folder"),
        ({"file_name": "a\0.jpg"}, "without a file name"),
        ({"file_name": ""}, "without a file name"),
        ({"file_name": 7}, "without a file name"),
        ({"height": 0}, "impossible size"),
        ({"height": 2.5}, "impossible size"),
        ({"height": 2**20, "width": 2**20}, "impossible size"),
        ({"id": None}, "not a whole number"),
    ],
)
def test_bad_picture_is_refused_with_its_reason(change, expected):
    record = {"id": 5, "file_name": "train/a..b.jpg", "height": 20, "width": 30}
    assert check_picture(record) == (5, "train/a..b.jpg", (20, 30))
    with pytest.raises(BadRecord, match=expected):
        check_picture(record | change)


def test_category_needs_a_name():
    assert check_category({"id": 3, "name": "car"}) == (3, "car")
    with pytest.raises(BadRecord, match="without a name"):
        check_category({"id": 3, "name": ""})


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mutation_reaches_native_code_unchecked(data):
    """Whatever passes must give a mask of the picture's size whose pixels pycocotools counts the same twice."""
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**33), 2**33),
        st.floats(),
        st.text(max_size=8),
        st.just([]),
        st.just({}),
    )
    start = data.draw(st.sampled_from([TRIANGLE, ONE_RUN, {"size": [20, 30], "counts": "hb0`0"}]))
    segmentation = copy.deepcopy(start)
    for _ in range(data.draw(st.integers(1, 3))):
        if isinstance(segmentation, list):
            ring = segmentation[0]
            ring[data.draw(st.integers(0, len(ring) - 1))] = data.draw(values)
        else:
            counts = data.draw(
                st.one_of(values, st.lists(st.integers(-5, 620), max_size=6), st.text("0123hb`oPQ", max_size=9))
            )
            segmentation["counts"] = counts
    try:
        checked = check_segmentation(segmentation, SIZE)
    except BadRecord:
        return
    code = checked.rle(SIZE)
    mask = checked.cut_out(SIZE).dense(SIZE)
    assert mask.sum() == coco_mask.area(code)
    assert coco_mask.encode(mask) == code
    if isinstance(checked, Polygons):
        expected = coco_mask.merge(coco_mask.frPyObjects([[float(v) for v in ring] for ring in segmentation], *SIZE))
        assert code == expected
