"""A user's folder of pictures and labels: what is read, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Solo
from trees import write_palette_png

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.pictures import read_labels, read_picture, write_picture
from solo_rt.train.data.semantic.folder import open_folder, write_folder
from solo_rt.train.data.semantic.palettes import voc_palette
from solo_rt.train.data.semantic.world import LEGEND, held_out_world

IDS = np.array([[0, 1, 2, 255, 1], [2, 2, 0, 0, 1]], np.uint8)


def write_pair(root: Path, name: str = "a", *, labels: np.ndarray = IDS, part: str = "") -> None:
    for folder in ("images", "labels"):
        (root / folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / part / f"{name}.png"), np.zeros((*labels.shape, 3), np.uint8))
    cv2.imwrite(str(root / "labels" / part / f"{name}.png"), labels)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    world = held_out_world(size=(36, 64), length=3)
    data = open_folder(write_folder(tmp_path / "w", world), split="val")
    assert (data.legend, data.names, len(data)) == (LEGEND, world.names, 3)
    for i in range(3):
        np.testing.assert_array_equal(data[i].labels, world[i].labels)
        assert np.abs(data[i].image.astype(int) - world[i].image).mean() < 8
    with pytest.raises(UsageError, match=r"cannot make .*choose a new folder"):
        write_folder(tmp_path / "w", world)


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.array([[[1, 2, 3]]], np.uint8))
    assert read_picture(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]
    with pytest.raises(DatasetError, match=r"cannot write .*b.png"):
        write_picture(tmp_path / "nowhere" / "b.png", IDS)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 65), (33, 200)])
@pytest.mark.parametrize("bits", [8, 4, 1])
def test_palette_pngs_give_indices_not_colours(tmp_path: Path, size: tuple[int, int], bits: int) -> None:
    ids = np.random.default_rng(0).integers(0, 1 << bits, size, dtype=np.uint8)
    write_palette_png(tmp_path / "p.png", ids, bits=bits)
    cv2.imwrite(str(tmp_path / "g.png"), ids)
    assert (tmp_path / "p.png").read_bytes()[25] == 3
    np.testing.assert_array_equal(read_labels(tmp_path / "p.png"), ids)
    np.testing.assert_array_equal(read_labels(tmp_path / "g.png"), ids)
    assert read_labels(tmp_path / "p.png").dtype == np.uint8


def test_parts_names_and_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c10", "c9"):
        write_pair(tmp_path, name, part="train")
    write_pair(tmp_path, "z", part="val")
    (tmp_path / "classes.txt").write_text("floor\n\n wall \nroof\n")
    assert open_folder(tmp_path, split="train").names == ("a", "b", "c10", "c9")
    (tmp_path / "classes.txt").write_text("floor\n\n wall \nroof\n", "utf-8-sig")  # as some editors do
    data = open_folder(tmp_path, split="val")
    assert (data.names, data.classes, data.palette) == (("z",), ("floor", "wall", "roof"), voc_palette(3))
    np.testing.assert_array_equal(data[0].labels, IDS)
    write_pair(tmp_path / "flat")
    assert [open_folder(folder, split="val").has_parts for folder in (tmp_path, tmp_path / "flat")] == [True, False]


def test_without_a_list_classes_have_numbers(tmp_path: Path) -> None:
    write_pair(tmp_path)
    assert open_folder(tmp_path, split="val").classes == ("class 0", "class 1", "class 2")


def test_stored_ids_become_classes(tmp_path: Path) -> None:
    """Masks of 0 and 255 are what many tools write: 255 would be ignored if nobody said what it means."""
    write_pair(tmp_path, labels=np.array([[0, 255, 7]], np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["paper", "ink"], "ids": [0, 255]}))
    np.testing.assert_array_equal(open_folder(tmp_path, split="val")[0].labels, [[0, 1, 255]])


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected a folder .*images"):
        open_folder(tmp_path, split="val")
    write_pair(tmp_path)
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    with pytest.raises(DatasetError, match=r"folder a: expected labels below 2 or 255, got 2; see .* check-labels"):
        open_folder(tmp_path, split="val")[0]
    (tmp_path / "labels" / "a.png").rename(tmp_path / "labels" / "b.png")
    with pytest.raises(DatasetError, match="got 2 without the other, such as a"):
        open_folder(tmp_path, split="val")
    (tmp_path / "labels" / "b.png").rename(tmp_path / "labels" / "a.png")
    for text, why in (
        ("{", ""),
        ("[]", ""),
        ("{}", ""),
        ('{"classes": ["a"], "palette": [[1, 2]]}', ""),
        ('{"classes": ["a"], "palette": [[1, 2, 256]]}', r".*values in 0..255, got \(1, 2, 256\)"),
        ('{"classes": ["a"], "palette": [[-1, 2, 3]]}', ".*got \\(-1, 2, 3"),
        ('{"classes": ["a", "b"], "unpainted": [2]}', r".*unpainted classes below 2, got \(2,\)"),
    ):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(DatasetError, match=r"classes.json: expected the classes" + why):
            open_folder(tmp_path, split="val")
    (tmp_path / "classes.json").unlink()
    for content in (b"one\none\n", b"\xff\n"):
        (tmp_path / "classes.txt").write_bytes(content)
        with pytest.raises(DatasetError, match=r"classes.txt: expected a class per line"):
            open_folder(tmp_path, split="val")
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"images: expected one file of each name, got a.jpg and a.png"):
        open_folder(tmp_path, split="val")


def test_unreadable_files_say_which(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for read in (read_picture, read_labels):
        for name in ("a.png", "missing.png"):
            with pytest.raises(DatasetError, match=f"cannot read .*{name}.*is the data set complete"):
                read(tmp_path / name)
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((2, 2, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((2, 2), np.uint16))
    for name, got in {"colour": "3 channels", "deep": "16 bits"}.items():
        with pytest.raises(DatasetError, match=f"grey or with a palette, got {got}"):
            read_labels(tmp_path / f"{name}.png")
    write_palette_png(tmp_path / "cut.png", IDS)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"cannot read labels .*cut.png"):
        read_labels(tmp_path / "cut.png")


def test_demo_data_writes_held_out_pictures(tmp_path: Path, solo: Solo) -> None:
    code, out, _ = solo("demo-data", tmp_path, "--frames", 1, "--size", "64x64", "--semantic", 2)
    assert (code, out.split()[-1]) == (0, str(tmp_path / "semantic"))
    data = open_folder(tmp_path / "semantic", split="val")
    assert (data.names, data.legend) == (("000000", "000001"), LEGEND)
    np.testing.assert_array_equal(data[1].labels, held_out_world()[1].labels)
