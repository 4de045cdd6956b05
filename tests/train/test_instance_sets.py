"""Instance data sets on disk: layouts, classes, and what is left out of a damaged file."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.instances import InstanceSet, index, open_instances
from solo_rt.train.data.instances.cityscapes import find_objects
from solo_rt.train.data.instances.masks import Cutout, Polygons, RunLengths
from solo_rt.train.data.instances.packed import ARRAYS, choose, pack
from solo_rt.train.data.instances.records import ObjectRecord, PictureRecord
from solo_rt.train.data.instances.regions import find_region, find_regions
from solo_rt.train.data.instances.world import held_out_world
from solo_rt.train.data.pictures import read_numbers
from solo_rt.train.data.world_files import write_coco

CASIA = Path(__file__).resolve().parents[3] / "shared/data/casia-spt"
SIZE = (12, 16)


def picture(number: int, name: str = "") -> dict[str, object]:
    return {"id": number, "file_name": name or f"{number}.png", "height": SIZE[0], "width": SIZE[1]}


def annotation(number: int, *, image: int, category: int, x: float = 2, **fields: object) -> dict[str, object]:
    square = [x, 1, x + 4, 1, x + 4, 6, x, 6]
    record = {"id": number, "image_id": image, "category_id": category, "bbox": [x, 1, 4, 5], "area": 20}
    return record | {"iscrowd": 0, "segmentation": [square]} | fields


def write_set(folder: Path, **changes: object) -> Path:
    """Write three pictures, the middle one without an object, and three categories of which the second has none."""
    record: dict[str, object] = {
        "images": [picture(30), picture(10), picture(20)],
        "categories": [{"id": 90, "name": "cat"}, {"id": 1, "name": "ant"}, {"id": 7, "name": "bee"}],
        "annotations": [
            annotation(0, image=30, category=90),
            annotation(1, image=10, category=1, x=8),
            annotation(2, image=30, category=1, x=5.5),
        ],
    }
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in (10, 20, 30):
        cv2.imwrite(str(folder / f"images/{number}.png"), np.full((*SIZE, 3), number, np.uint8))
    (folder / "instances.json").write_text(json.dumps(record | changes))
    return folder


def load_coco(folder: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "instances.json"))


def test_pictures_and_classes_are_in_the_order_of_their_ids(tmp_path):
    data = open_instances(f"coco:{write_set(tmp_path)}")
    assert data.classes == ("ant", "bee", "cat")
    assert data.category_ids == (1, 7, 90)
    assert [data[i].path.name for i in range(3)] == ["10.png", "20.png", "30.png"]
    assert data.picture_ids.tolist() == [10, 20, 30]
    assert [[a.label for a in data[i].annotations] for i in range(3)] == [[0], [], [2, 0]]
    last = data[2].annotations[1]
    assert (last.box, last.area, last.crowd) == ((5.5, 1.0, 9.5, 6.0), 20.0, False)
    assert data[0].load()[0, 0].tolist() == [10, 10, 10]
    assert data.skipped == {}


def test_official_layout_has_two_parts_and_paths_can_be_given(tmp_path):
    source = write_set(tmp_path / "flat")
    for split, keep in (("train", 10), ("val", 20)):
        (tmp_path / "coco/annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"coco/{split}2017").mkdir()
        write_set(tmp_path / "other", images=[picture(keep)], annotations=[])
        (tmp_path / "other/instances.json").rename(tmp_path / f"coco/annotations/instances_{split}2017.json")
    assert open_instances(f"coco:{tmp_path}/coco", split="train").names == ("10.png",)
    assert open_instances(f"coco:{tmp_path}/coco", split="val").names == ("20.png",)
    assert len(open_instances(f"coco:{source}/instances.json,{source}/images")) == 3
    assert len(open_instances(f"casia:{source}", split="train")) == 3
    addresses = (f"{tmp_path}/coco", f"{source}/instances.json,{source}/images", f"{source}")
    assert [open_instances(f"coco:{place}").has_parts for place in addresses] == [True, False, False]
    named = f"{tmp_path}/coco/annotations/instances_val2017.json,{tmp_path}/coco/val2017"
    assert not open_instances(f"coco:{named}").has_parts


def test_chosen_classes_and_first_pictures(tmp_path):
    write_set(tmp_path)
    data = open_instances(f"coco:{tmp_path}", classes=("cat", "bee"))
    assert data.classes == ("bee", "cat")
    assert [[a.label for a in data[i].annotations] for i in range(3)] == [[], [], [1]]
    few = open_instances(f"coco:{tmp_path}?images=2&classes=ant")
    assert (few.names, few.classes, len(few[0].annotations)) == (("10.png", "20.png"), ("ant",), 1)
    assert len(open_instances(f"coco:{tmp_path}?images=2", images=1)) == 1
    with pytest.raises(UsageError, match=r"has no class dog; it has ant, bee, cat"):
        open_instances(f"coco:{tmp_path}", classes=("dog",))


def test_a_set_survives_being_sent_to_a_worker(tmp_path):
    data = open_instances(f"coco:{write_set(tmp_path)}")
    copy = pickle.loads(pickle.dumps(data))
    for i in range(3):
        for one, other in zip(data[i].annotations, copy[i].annotations, strict=True):
            assert one[:4] == other[:4]
            assert one.segmentation.rle(SIZE) == other.segmentation.rle(SIZE)


def test_masks_of_all_forms_are_those_of_pycocotools(tmp_path):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[3:7, 2:15] = 1
    packed = coco_mask.encode(mask)
    crowd = {"size": list(SIZE), "counts": [27, 4, 8, 4, 149]}
    records = [
        annotation(1, image=10, category=1, segmentation={"size": list(SIZE), "counts": packed["counts"].decode()}),
        annotation(2, image=10, category=1, segmentation=crowd, iscrowd=1),
        annotation(3, image=10, category=1, segmentation=[[1, 1, 6.5, 1, 6.5, 9.2], [9, 9, 15, 9, 12, 14]]),
    ]
    write_set(tmp_path, annotations=records)
    expected = load_coco(tmp_path)
    found = open_instances(f"coco:{tmp_path}")[0]
    assert [a.crowd for a in found.annotations] == [False, True, False]
    for number, item in enumerate(found.annotations, 1):
        cutout = item.segmentation.cut_out(SIZE)
        theirs = expected.annToRLE(expected.anns[number])["counts"]
        assert cutout.rle(SIZE)["counts"] == (theirs.encode() if isinstance(theirs, str) else theirs)
        assert cutout.mask.any(0)[[0, -1]].all()
        assert cutout.mask.any(1)[[0, -1]].all()


def test_bad_records_are_left_out_counted_and_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="solo_rt")
    write_set(
        tmp_path,
        images=[picture(10), picture(30), picture(10, "again.png"), picture(40, "../up.png")],
        annotations=[
            annotation(1, image=10, category=1),
            annotation(1, image=10, category=1),
            annotation(2, image=40, category=1),
            annotation(3, image=10, category=2),
            annotation(4, image=30, category=1, segmentation=[[1, 2, 3, 4, float("nan"), 6]]),
            annotation(5, image=30, category=1),
        ],
    )
    data = open_instances(f"coco:{tmp_path}")
    assert [len(data[i].annotations) for i in range(len(data))] == [1, 1]
    assert data.skipped == {
        "picture with the id of another one": 1,
        "picture outside its folder": 1,
        "annotation with the id of another one": 1,
        "annotation of an unknown picture": 1,
        "annotation of an unknown category": 1,
        "polygon with a coordinate that is not finite": 1,
    }
    (summary,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "left out 6 records: 1 picture with the id of another one, " in summary
    assert "annotation number 4 left out: polygon with a coordinate" in caplog.text


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the annotations of files of any size, in the folder returned."""
    monkeypatch.setattr(index, "KEPT_FROM", 0)
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache" / "solo-rt"))
    return tmp_path / "cache/solo-rt/annotations"


def same_objects(one: InstanceSet, other: InstanceSet) -> bool:
    return [[(a[:4], a.segmentation.rle(SIZE)) for a in one[i].annotations] for i in range(len(one))] == [
        [(a[:4], a.segmentation.rle(SIZE)) for a in other[i].annotations] for i in range(len(other))
    ]


def test_large_annotations_are_checked_once_and_then_mapped(tmp_path, kept, monkeypatch, caplog):
    packed = {"size": list(SIZE), "counts": [27, 4, 8, 4, 149]}
    bad = annotation(7, image=77, category=1)
    source = write_set(tmp_path / "set")
    record = json.loads((source / "instances.json").read_text())
    record["annotations"] += [annotation(5, image=20, category=7, segmentation=packed), bad]
    (source / "instances.json").write_text(json.dumps(record))
    expected = open_instances(f"coco:{source}")
    assert len(list(kept.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(index, "read_index", None)
        again = open_instances(f"coco:{source}")
        assert same_objects(again, expected)
        assert (again.names, again.classes, again.skipped) == (expected.names, expected.classes, expected.skipped)
        assert "left out 1 records" in caplog.text
        data = pickle.dumps(again.read)
        assert len(data) < 500  # a worker gets the name of the folder
        assert same_objects(replace(again, read=pickle.loads(data)), expected)
        assert len(open_instances(f"coco:{source}?images=1&classes=ant").read.labels) == 1
    monkeypatch.setattr(index, "KEPT_FROM", 1 << 40)
    assert same_objects(open_instances(f"coco:{source}"), expected)
    assert len(list(kept.iterdir())) == 1


def test_changed_or_damaged_annotations_are_read_again(tmp_path, kept, caplog):
    source = write_set(tmp_path / "set")
    expected = open_instances(f"coco:{source}")
    (folder,) = kept.iterdir()
    for name in ("index.json", "points.npy", "first.npy"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        assert same_objects(open_instances(f"coco:{source}"), expected)
        assert (folder / name).read_bytes() == content
    write_set(source, annotations=[])
    assert [len(open_instances(f"coco:{source}")[i].annotations) for i in range(3)] == [0, 0, 0]
    (kept.parent / "annotations").rename(kept.parent / "moved")
    kept.write_text("in the way")
    assert same_objects(open_instances(f"coco:{write_set(source)}"), expected)
    assert "the next run reads it again" in caplog.text


def test_without_a_home_folder_annotations_are_read_every_time(tmp_path, kept, homeless, caplog):
    source = write_set(tmp_path / "set")
    for _ in range(2):
        assert len(open_instances(f"coco:{source}")) == 3
    assert caplog.text.count("its annotations are not kept, the next run reads it again: this user has no home") == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_chosen_objects_are_those_of_a_file_that_has_only_them(data):
    """Choosing from the arrays is the fast way; the slow one packs only what was chosen."""
    pictures = [PictureRecord(i, f"{i}.png", SIZE) for i in range(data.draw(st.integers(1, 5)))]
    shapes = [
        Polygons((np.arange(6.0), np.arange(8.0))),
        Polygons((np.arange(10.0),)),
        RunLengths(b"PP1"),
        RunLengths(b"1"),
    ]
    shape = st.sampled_from(shapes)
    picture, category = st.integers(0, len(pictures) - 1), st.integers(0, 3)
    drawn = data.draw(st.lists(st.tuples(picture, category, shape), max_size=12))
    objects = [ObjectRecord(n, i, c, (n, 0, n, 1), n, n % 2 == 0, mask) for n, (i, c, mask) in enumerate(drawn)]
    chosen = data.draw(st.lists(st.integers(0, 3), unique=True))
    count = data.draw(st.integers(0, len(pictures)))
    labels = {old: new for new, old in enumerate(sorted(chosen))}
    fast = choose(pack(pictures, objects, {c: c for c in range(4)}), pictures=count, labels=labels)
    slow = pack(pictures[:count], [o for o in objects if o.picture < count and o.category in labels], labels)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not a COCO annotation file"),
        ("[" * 100_000, "RecursionError"),
        ("[]", "expected lists images, annotations, categories"),
        ('{"images": [], "annotations": {}, "categories": []}', "expected lists"),
        ('{"images": [], "annotations": [], "categories": []}', "expected pictures and categories, got 0 and 0"),
    ],
)
def test_files_that_are_no_annotations_are_refused(tmp_path, text, expected):
    write_set(tmp_path)
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(DatasetError, match=expected):
        open_instances(f"coco:{tmp_path}")


def test_addresses_that_are_none_are_refused(tmp_path):
    for uri in ("coco", "imagenet:/data", str(tmp_path)):
        with pytest.raises(UsageError, match=r"expected one with objects \(coco:DIR, casia:DIR, .*; classes"):
            open_instances(uri)
    with pytest.raises(DatasetError, match=r"instances_val2017\.json with .*val2017/ or .*instances\.json with"):
        open_instances(f"coco:{tmp_path}")
    with pytest.raises(UsageError, match="expected train or val"):
        open_instances(f"coco:{tmp_path}", split="test")
    for query in ("images=0", "images=x", "count=3", "classes="):
        with pytest.raises(UsageError, match=r"expected \?images=N or \?classes="):
            open_instances(f"coco:{write_set(tmp_path)}?{query}")


def test_missing_picture_and_picture_of_another_size_are_named(tmp_path):
    data = open_instances(f"coco:{write_set(tmp_path)}")
    (tmp_path / "images/10.png").unlink()
    cv2.imwrite(str(tmp_path / "images/20.png"), np.zeros((16, 12, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"cannot read picture .*images/10\.png: No such file"):
        data[0].load()
    with pytest.raises(DatasetError, match=r"images/20\.png: expected 12x16 as annotated, got 16x12"):
        data[1].load()


def write_street(folder: Path, ids: np.ndarray, *, split: str = "val", name: str = "bonn_000000_000019") -> Path:
    """Write one street scene whose instance ids are given."""
    city = name.split("_")[0]
    for path, values in (
        (folder / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", np.zeros((*ids.shape, 3), np.uint8)),
        (folder / f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png", ids),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), values)
    return folder


def test_street_objects_are_numbered_regions_and_groups_are_crowds(tmp_path):
    ids = np.full(SIZE, 7, np.uint16)
    ids[2:5, 3:9] = 26000
    ids[3, 4] = 24012
    ids[8:, :4] = 26  # a group of cars
    ids[0, :] = 29001  # a caravan is not measured
    ids[6:8, 10:] = 33255
    ids[6, 12:14] = 11
    data = open_instances(f"cityscapes:{write_street(tmp_path, ids)}")
    assert data.classes == ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    found = data[0]
    assert found.size == SIZE
    assert [(data.classes[a.label], a.box, a.area, a.crowd) for a in found.annotations] == [
        ("car", (0, 8, 4, 12), 16, True),
        ("person", (4, 3, 5, 4), 1, False),
        ("car", (3, 2, 9, 5), 17, False),
        ("bicycle", (10, 6, 16, 8), 10, False),
    ]
    for item, value in zip(found.annotations, (26, 24012, 26000, 33255), strict=True):
        np.testing.assert_array_equal(item.segmentation.cut_out(SIZE).dense(SIZE), ids == value)
    assert [data.trained(a) for a in found.annotations] == [False, False, True, True]
    assert [a.label for a in open_instances(f"cityscapes:{tmp_path}?classes=bicycle")[0].annotations] == [0]


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


def spot(y: int, x: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[y : y + 3, x : x + 4] = value
    return mask


def write_cells(folder: Path, names: Iterable[str]) -> Path:
    """Write pictures with two cells each as the data science bowl has its nuclei: a folder each, a file per cell."""
    for name in names:
        write_mask(folder / name / "images" / f"{name}.png", np.full((*SIZE, 3), 9, np.uint8))
        write_mask(folder / name / "masks" / "a.png", spot(1, 2))
        write_mask(folder / name / "masks" / "b.png", spot(2, 5))
    return folder


def test_a_mask_file_is_an_object(tmp_path: Path) -> None:
    write_cells(tmp_path / "train", ["p", "q"])
    write_mask(tmp_path / "train/none/images/none.png", np.zeros((*SIZE, 3), np.uint8))
    (tmp_path / "train/none/masks").mkdir()
    data = open_instances(f"masks:{tmp_path}", split="train")
    assert (data.classes, data.names) == (("object",), ("none/images/none.png", "p/images/p.png", "q/images/q.png"))
    assert data[0].size == SIZE
    assert data[0].annotations == ()
    assert [(a.box, a.area, a.crowd) for a in data[1].annotations] == [
        ((2, 1, 6, 4), 12, False),
        ((5, 2, 9, 5), 12, False),
    ], "what overlaps stays whole"
    np.testing.assert_array_equal(data[2].annotations[1].segmentation.cut_out(SIZE).dense(SIZE), spot(2, 5, 1))
    np.testing.assert_array_equal(data[2].load(), np.full((*SIZE, 3), 9))


def test_a_mask_alone_is_the_region_that_it_is_among_others() -> None:
    scattered = np.random.default_rng(0).random((40, 60)) < 0.004
    for mask in (scattered, scattered[5:, 7:], np.ones((3, 2), np.bool_)):
        (expected,) = find_regions(mask.astype(np.uint16), np.arange(1 << 16) > 0)
        found = find_region(mask)
        assert found is not None
        assert (found.box, found.area, found.mask[:2]) == (expected.box, expected.area, expected.mask[:2])
        np.testing.assert_array_equal(found.mask.mask, expected.mask.mask)
    assert find_region(np.zeros((4, 5), np.bool_)) is None


@pytest.mark.parametrize(("images", "masks", "ending"), [("images", "masks", ""), ("PNGImages", "PedMasks", "_mask")])
def test_a_number_is_an_object(tmp_path: Path, images: str, masks: str, ending: str) -> None:
    (tmp_path / "classes.txt").write_text("person\n", "utf-8-sig")
    numbers = spot(1, 2, 1) + spot(6, 2, 1) * np.uint16(300)
    for part in ("train", "val"):
        write_mask(tmp_path / part / images / "a.png", np.zeros((*SIZE, 3), np.uint8))
        write_mask(tmp_path / part / masks / f"a{ending}.png", numbers)
    data = open_instances(f"masks:{tmp_path}?classes=person")
    assert data.classes == ("person",)
    assert [a.box for a in data[0].annotations] == [(2, 1, 6, 4), (2, 6, 6, 9)]
    np.testing.assert_array_equal(data[0].annotations[1].segmentation.cut_out(SIZE).dense(SIZE), numbers == 300)


@pytest.mark.parametrize("numbers", [np.float32([[0.5]]), np.float32([[65536]]), np.int32([[-1]])])
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, numbers: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.tiff"), np.tile(numbers, SIZE))
    with pytest.raises(DatasetError, match=r"a\.tiff: expected whole numbers in 0\.\.65535, got others"):
        read_numbers(tmp_path / "a.tiff")


def test_of_masks_without_parts_a_tenth_is_held_out_whatever_else_there_is(tmp_path: Path) -> None:
    write_cells(tmp_path, map(str, range(100)))
    train, val = (set(open_instances(f"masks:{tmp_path}", split=split).names) for split in ("train", "val"))
    assert len(train | val) == len(train) + len(val) == 100
    assert 3 <= len(val) <= 20
    write_cells(tmp_path, map(str, range(100, 120)))
    assert val <= set(open_instances(f"masks:{tmp_path}").names)
    few = write_cells(tmp_path / "few", map(str, range(3)))
    with pytest.raises(DatasetError, match=r"few has no train/ and val/.* of these 3 none is in part val"):
        open_instances(f"masks:{few}")


def test_a_name_that_is_no_utf8_is_one_of_masks_without_parts(tmp_path: Path) -> None:
    write_cells(tmp_path, map(str, range(30)))
    (tmp_path / "7").rename(tmp_path / "caf\udce9")
    data = [open_instances(f"masks:{tmp_path}", split=split) for split in ("train", "val")]
    pictures = {name: part[number] for part in data for number, name in enumerate(part.names)}
    assert len(pictures) == 30
    assert len(pictures["caf\udce9/images/7.png"].annotations) == 2


def test_masks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected pictures of part val in .*, as NAME/images/ and NAME/masks/"):
        open_instances(f"masks:{tmp_path}")
    write_cells(tmp_path / "val", ["p"])
    with pytest.raises(UsageError, match="has no class cell; it has object"):
        open_instances(f"masks:{tmp_path}?classes=cell")
    write_mask(tmp_path / "val/p/masks/c.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DatasetError, match=r"c\.png: expected the size of the others, got 5x5"):
        open_instances(f"masks:{tmp_path}")[0]
    write_mask(tmp_path / "val/p/images/second.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"expected one picture in .*p/images, got 2"):
        open_instances(f"masks:{tmp_path}")
    (tmp_path / "classes.txt").write_text("cell\nnucleus\n", "utf-8-sig")
    with pytest.raises(DatasetError, match="expected the name of one class, got 2"):
        open_instances(f"masks:{tmp_path}")
    (tmp_path / "classes.txt").write_text("Zelle\xe9", "latin-1")
    with pytest.raises(DatasetError, match=r"classes.txt: expected the name of one class in UTF-8 \("):
        open_instances(f"masks:{tmp_path}")


def test_street_without_objects_has_none():
    assert find_objects(np.full(SIZE, 26, np.uint16) * 0 + 8, (24, 26)) == ()
    assert find_objects(np.zeros(SIZE, np.uint16), (24, 26)) == ()


def test_street_files_are_checked(tmp_path):
    with pytest.raises(DatasetError, match=r"expected leftImg8bit/train/CITY"):
        open_instances(f"cityscapes:{tmp_path}", split="train")
    write_street(tmp_path, np.zeros(SIZE, np.uint8))
    with pytest.raises(DatasetError, match="expected 16 bits in one channel, got uint8"):
        open_instances(f"cityscapes:{tmp_path}")[0]
    next(tmp_path.glob("gtFine/*/*/*")).unlink()
    with pytest.raises(DatasetError, match=r"000019_gtFine_instanceIds\.png is missing"):
        open_instances(f"cityscapes:{tmp_path}")
    with pytest.raises(UsageError, match=r"no instances of \['sky'\]"):
        open_instances(f"cityscapes:{tmp_path}", classes=("sky",))


def test_cutout_becomes_a_run_length_code():
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[3:5, 7:9] = [[1, 0], [1, 1]]
    assert Cutout(7, 3, mask[3:5, 7:9]).rle(SIZE) == coco_mask.encode(mask)
    assert coco_mask.area(Cutout(0, 0, np.zeros((0, 0), np.uint8)).rle(SIZE)) == 0


@pytest.mark.skipif(not CASIA.is_dir(), reason=f"no CASIA-SPT in {CASIA}")
def test_real_annotations_are_all_good_and_equal_to_pycocotools():
    data = open_instances(f"casia:{CASIA}", split="train")
    assert (len(data), len(data.classes), data.skipped) == (140, 80, {})
    assert data.classes[:2] == ("person", "bicycle")
    assert data.category_ids[-1] == 90
    expected = load_coco(CASIA)
    total = 0
    for i in range(len(data)):
        found = data[i]
        theirs = expected.imgToAnns[found.id]
        total += len(theirs)
        for one, other in zip(found.annotations, theirs, strict=True):
            assert data.category_ids[one.label] == other["category_id"]
            assert one.segmentation.rle(found.size) == expected.annToRLE(other)
    assert total == 472


def test_the_held_out_world_is_what_is_written_as_coco(tmp_path):
    written = open_instances(f"coco:{write_coco(tmp_path / 'coco', images=3, size=(90, 160)).parent}")
    drawn = held_out_world(size=(90, 160), length=3)
    assert (drawn.classes, drawn.category_ids, len(drawn)) == (written.classes, written.category_ids, 3)
    for i in range(3):
        assert drawn[i].id == written[i].id
        for a, b in zip(drawn[i].annotations, written[i].annotations, strict=True):
            assert (a.label, a.box, a.area, a.crowd) == (b.label, b.box, b.area, b.crowd)
            assert a.segmentation.rle((90, 160)) == b.segmentation.rle((90, 160))
        difference = drawn[i].load().astype(int) - written[i].load()
        assert np.abs(difference).mean() < 8  # noise that JPEG has taken away


@pytest.mark.parametrize("uri", ["coco:~/set", "coco:~/set.json,~/set", "masks:~/set", "cityscapes:~/set"])
def test_a_user_without_a_home_has_no_data_there(uri: str, homeless: None) -> None:
    with pytest.raises(DatasetError, match="~/set"):
        open_instances(uri)
