"""Pictures that cannot be read: left out of measures and named, or refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Solo

from solo_rt.engine import open_engine
from solo_rt.errors import DatasetError
from solo_rt.train.data.instances import open_instances
from solo_rt.train.data.left_out import NAMED, LeftOut, require_some
from solo_rt.train.data.pictures import read_labels, read_picture
from solo_rt.train.data.semantic import open_semantic
from solo_rt.train.data.semantic.folder import write_folder
from solo_rt.train.data.semantic.world import training_world
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.evaluate.detections import detect, detect_exactly
from solo_rt.train.evaluate.semantic import count
from solo_rt.train.evaluate.views import Views


def spoil(folder: Path) -> None:
    """Remove a picture, damage another and turn a third; two are left."""
    paths = sorted(folder.glob("*.jpg"))
    assert len(paths) == 5
    paths[0].unlink()
    paths[2].write_bytes(b"no picture")
    cv2.imwrite(str(paths[3]), np.zeros((64, 36, 3), np.uint8))


def test_each_picture_is_named_once_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    left_out = LeftOut()
    left_out.report(3)
    assert not caplog.records
    for index in [*range(NAMED + 3), 0, 1]:
        left_out.add(index, DatasetError(f"picture {index} is bad"))
    left_out.report(99)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said[:NAMED] == [f"left out: picture {index} is bad" for index in range(NAMED)]
    assert said[NAMED:] == ["left out: more pictures than 10; -v names them", "left out 13 of 99 pictures, see above"]
    require_some(1, of=13)
    require_some(0, of=0)
    with pytest.raises(DatasetError, match="none of 13 pictures can be read"):
        require_some(0, of=13)
    with pytest.raises(DatasetError, match="picture 1 is bad"):
        LeftOut(strict=True).add(1, DatasetError("picture 1 is bad"))


def test_eval_of_instances_measures_the_other_pictures(
    tmp_path: Path, solo: Solo, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_coco(tmp_path / "data", images=5, size=(90, 160)).parent
    whole = write_coco(tmp_path / "whole", images=5, size=(90, 160))
    spoil(data / "images")
    record = json.loads(whole.read_text())
    kept = {record["images"][i]["id"] for i in (1, 4)}
    record["images"] = [image for image in record["images"] if image["id"] in kept]
    record["annotations"] = [item for item in record["annotations"] if item["image_id"] in kept]
    whole.write_text(json.dumps(record))
    options = ("--device", "cpu", "--backend", "onnxruntime", "--json")
    code, out, _ = solo("eval", "--data", f"coco:{data}", *options)
    assert code == 0
    assert "left out 3 of 5 pictures" in caplog.text
    assert "expected 90x160 as annotated, got 64x36" in caplog.text
    scores = json.loads(out)
    assert scores["images"] == 2
    code, out, _ = solo("eval", "--data", f"coco:{tmp_path / 'whole'}", *options)
    assert json.loads(out)["metrics"] == scores["metrics"]

    parts = [tmp_path / f"part{i}.json" for i in range(1, 6)]  # three of which have nothing that can be read
    for i, part in enumerate(parts, 1):
        shard = ("--shard", f"{i}/5", "--results", part)
        assert solo("eval", "--data", f"coco:{data}", *options, *shard)[0] == 0
    code, out, _ = solo("eval", "--merge", *parts, "--json")
    assert json.loads(out)["metrics"] == scores["metrics"]

    code, out, err = solo("eval", "--data", f"coco:{data}", *options, "--strict")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot read picture" in err


def test_eval_of_labels_measures_the_other_pictures(
    tmp_path: Path, solo: Solo, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_folder(tmp_path / "data", training_world(seed=0, size=(36, 64), length=5))
    (data / "images" / sorted((data / "images").iterdir())[1].name).write_bytes(b"no picture")
    next(iter(sorted((data / "labels").iterdir()))).write_bytes(b"no labels")
    options = ("--model", "fast-scnn", "--data", f"folder:{data}", "--device", "cpu", "--backend", "onnxruntime")
    code, out, _ = solo("eval", *options, "--json")
    assert (code, json.loads(out)["images"]) == (0, 3)
    assert "left out 2 of 5 pictures" in caplog.text
    code, shared, _ = solo("eval", *options, "--workers", 5, "--json")
    assert (code, json.loads(shared)["metrics"]) == (0, json.loads(out)["metrics"])
    code, _, err = solo("eval", *options, "--strict")
    assert (code, len(err.splitlines())) == (2, 1)


@pytest.mark.parametrize("find", [detect, detect_exactly])
def test_progress_counts_pictures_that_are_left_out(tmp_path: Path, find: Callable[..., object]) -> None:
    annotations = write_coco(tmp_path / "data", images=5, size=(90, 160))
    spoil(annotations.parent / "images")
    (annotations.parent / "images" / sorted(path.name for path in annotations.parent.glob("images/*"))[-1]).unlink()
    data = open_instances(f"coco:{annotations.parent}", split="val")
    heard: list[tuple[int, int]] = []
    with closing(open_engine(None, backend="onnxruntime", device="cpu", threads=1)) as engine:
        find(engine, data, range(5), left_out=LeftOut(), on_image=lambda *at: heard.append(at))
    assert heard == sorted(heard)
    assert heard[-1] == (5, 5)


def test_progress_counts_labelled_pictures_that_are_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", training_world(seed=0, size=(36, 64), length=3))
    sorted((folder / "images").iterdir())[-1].write_bytes(b"no picture")
    data = open_semantic(f"folder:{folder}", split="val")
    heard: list[tuple[int, int]] = []
    with closing(open_engine("fast-scnn", backend="onnxruntime", device="cpu", threads=1)) as engine:
        count(engine, data, range(3), views=Views(), left_out=LeftOut(), on_image=lambda *at: heard.append(at))
    assert heard == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("read", [read_picture, read_labels])
def test_a_bomb_is_refused_by_its_header(read: object, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="expected at most 268435456 pixels, got 60000x60000"):
        read(path)  # type: ignore[operator]
