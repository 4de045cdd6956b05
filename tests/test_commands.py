"""The commands that make and measure models, as a user types them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from solo_rt.train.data.world_files import write_coco

    return write_coco(tmp_path_factory.mktemp("data") / "coco", images=6, size=(180, 320)).parent


def test_demo_data_writes_the_same_frames_twice(solo, tmp_path):
    code, out, _ = solo("demo-data", tmp_path / "d", "--size", "320x180", "--frames", 5)
    assert code == 0
    assert out.split() == [str(tmp_path / "d" / name) for name in ("cam0.avi", "cam0.mp4")]
    for name, codec in {"cam0.avi": "mjpeg", "cam0.mp4": "h264"}.items():
        with av.open(tmp_path / "d" / name) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert (stream.codec_context.name, len(frames)) == (codec, 5)
            assert frames[0].shape == (180, 320, 3)


def test_demo_data_leaves_what_is_there(solo, tmp_path):
    small = ("--size", "64x48", "--frames", 2)
    (tmp_path / "cam0.avi").write_text("mine")
    code, out, err = solo("demo-data", tmp_path, *small)
    assert (code, out.split()) == (0, [str(tmp_path / "cam0.mp4")])
    assert f"{tmp_path / 'cam0.avi'} is left as it is; --overwrite writes it anew" in err
    assert (tmp_path / "cam0.avi").read_text() == "mine"
    (tmp_path / "coco").mkdir()
    (tmp_path / "cam0.mp4").unlink()
    code, _, err = solo("demo-data", tmp_path, *small, "--coco", 2)
    assert (code, "coco is there already; choose another folder" in err) == (2, True)
    assert not (tmp_path / "cam0.mp4").exists(), "nothing is written by a command that cannot be obeyed"
    assert solo("demo-data", tmp_path, *small, "--overwrite")[0] == 0
    assert (tmp_path / "cam0.avi").read_bytes()[:4] == b"RIFF"


def test_sizes_are_two_numbers(solo, tmp_path):
    code, _, err = solo("demo-data", tmp_path / "d", "--size", "big")
    assert code == 2
    assert "WxH like 256x448, got 'big'" in err


def test_shipped_model_finds_most_objects_of_unseen_pictures(solo, pictures, tmp_path):
    results, sheet = tmp_path / "results.json", tmp_path / "sheet.png"
    code, out, _ = solo("eval", "--data", f"coco:{pictures}", "--results", results, "--pictures", sheet, "--json")
    scores = json.loads(out)
    assert code == 0
    assert scores["images"] == 6
    assert scores["metrics"]["AP50"] > 0.6
    assert scores["per_class"]["star"].keys() == {"AP", "AP50", "objects"}
    detections = json.loads(results.read_text())
    assert {"image_id", "category_id", "segmentation", "score"} == set(detections[0])
    assert cv2.imread(str(sheet)).shape == (6 * 278 + 8, 2 * 480 + 3 * 8, 3)


def test_a_model_that_is_right_has_a_perfect_score(solo, pictures, tmp_path):
    """Take the model's own detections as the truth."""
    solo("eval", "--data", f"coco:{pictures}", "--results", tmp_path / "found.json")
    truth = json.loads((pictures / "instances.json").read_text())
    found = json.loads((tmp_path / "found.json").read_text())
    best = [d for d in found if d["score"] > 0.5]
    for number, detection in enumerate(best):
        detection |= {"id": number, "iscrowd": 0, "area": 400.0, "bbox": [0, 0, 20, 20]}
    (tmp_path / "images").symlink_to(pictures / "images")
    (tmp_path / "instances.json").write_text(json.dumps(truth | {"annotations": best}))
    scores = json.loads(solo("eval", "--data", f"coco:{tmp_path}", "--json")[1])
    assert scores["metrics"]["AP"] == pytest.approx(1, abs=1e-6)


def test_shards_put_together_score_as_one_run(solo, pictures, tmp_path):
    data = f"coco:{pictures}"
    alone = solo("eval", "--data", data, "--max-images", 5, "--results", tmp_path / "all.json", "--json")[1]
    parts = [tmp_path / f"part{i}.json" for i in (1, 2, 3)]
    for i, part in enumerate(parts, 1):
        code, out, _ = solo("eval", "--data", data, "--max-images", 5, "--shard", f"{i}/3", "--results", part)
        assert (code, out.strip()) == (0, str(part))
    merged = solo("eval", "--merge", *reversed(parts), "--results", tmp_path / "merged.json", "--json")[1]
    assert json.loads(merged) == json.loads(alone)
    key = lambda d: (d["image_id"], -d["score"], d["segmentation"]["counts"])  # noqa: E731
    one, other = (sorted(json.loads((tmp_path / f"{n}.json").read_text()), key=key) for n in ("all", "merged"))
    assert one == other
    assert "expected the files of all 3 parts, got [1, 3]" in solo("eval", "--merge", parts[0], parts[2])[2]
    assert "part 2 of 3 is there twice" in solo("eval", "--merge", parts[1], *parts)[2]
    assert (
        "part3.json is there already; choose another file, or --overwrite it"
        in solo("eval", "--data", data, "--shard", "3/3", "--results", parts[2])[2]
    )
    solo("eval", "--data", data, "--shard", "3/3", "--results", parts[2], "--overwrite")
    assert "expected max_images 5 as in" in solo("eval", "--merge", *parts)[2]
    parts[0].write_text("[]")
    assert "expected what solo-rt eval --shard writes" in solo("eval", "--merge", *parts)[2]


def test_workers_find_what_one_process_does(solo, pictures, tmp_path):
    options = ("eval", "--data", f"coco:{pictures}", "--backend", "onnxruntime", "--max-images", 5, "--json")
    alone = solo(*options, "--results", tmp_path / "alone.json")[1]
    code, together, err = solo(*options, "--workers", 2, "--results", tmp_path / "together.json")
    assert (code, json.loads(together)) == (0, json.loads(alone)), err
    key = lambda d: (d["image_id"], -d["score"], d["segmentation"]["counts"])  # noqa: E731
    one, other = (sorted(json.loads((tmp_path / f"{n}.json").read_text()), key=key) for n in ("alone", "together"))
    assert one == other


def test_what_keeps_a_worker_from_measuring_is_one_line(solo, tmp_path):
    code, _, err = solo("eval", "--data", f"coco:{tmp_path / 'nothing'}", "--workers", 2)
    assert (code, err.count("solo-rt: error")) == (2, 1)
    assert str(tmp_path / "nothing") in err
    assert "Traceback" not in err


def test_options_of_eval_that_do_not_go_together_are_refused(solo, tmp_path):
    for name in ("x.pt", "x.engine"):
        (tmp_path / name).write_bytes(b"")
    for arguments, expected in (
        ((), "expected --data URI"),
        (("a.json",), "expected --data URI"),
        (("--merge",), "--merge takes the files of all shards"),
        (("--merge", "a.json", "--workers", "2"), "--workers: it is for a whole evaluation"),
        (("--data", "coco:x", "--shard", "1/2", "--results", "r", "--workers", "2"), "--workers: it is for a whole"),
        (("--merge", "a.json", "--data", "coco:x"), "--merge takes the files of all shards"),
        (("--merge", tmp_path / "no.json"), "cannot read"),
        (("--data", "coco:x", "--shard", "1/2"), "--shard 1/2: expected I/N with --results FILE"),
        (("--data", "coco:x", "--shard", "3/2", "--results", tmp_path / "r.json"), "expected I/N with I in 1..N"),
        (("--data", "coco:x", "--pictures", tmp_path / "a.jpg"), "expected a file that ends in .png"),
        (("--data", "coco:x", "--results", tmp_path / "no/r.json"), "there is no folder"),
        (("--data", "coco:x", "--model", tmp_path / "x.pt", "--record"), "export the checkpoint first"),
        (("--data", "coco:x", "--model", tmp_path / "x.pt", "--backend", "tensorrt"), ".pt is for torch"),
        (("--data", "coco:x", "--model", tmp_path / "x.engine", "--record"), "measure the .onnx file itself"),
    ):
        code, _, err = solo("eval", *arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert expected in err


def test_what_cannot_be_recorded_is_refused_before_it_is_measured(solo, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else found(name))
    code, _, err = solo("eval", "--data", "coco:none", "--record")
    assert (code, err) == (2, "solo-rt: error: eval --record needs onnx; install it with pip install onnx\n")


def test_data_sets_that_are_none_are_refused(solo, pictures, tmp_path):
    assert "expected one with objects (coco:DIR, casia:DIR" in solo("eval", "--data", pictures)[2]
    assert "instances.json" in solo("eval", "--data", f"coco:{tmp_path}")[2]
    (tmp_path / "images").mkdir()
    (tmp_path / "instances.json").write_text("{}")
    code, _, err = solo("eval", "--data", f"coco:{tmp_path}")
    assert (code, err.count("\n")) == (2, 1)


def test_classes_the_data_set_lacks_are_named_and_the_others_measured(solo, pictures, tmp_path):
    record = json.loads((pictures / "instances.json").read_text())
    record["categories"][0]["name"] = "bubble"
    (tmp_path / "images").symlink_to(pictures / "images")
    (tmp_path / "instances.json").write_text(json.dumps(record))
    code, out, _ = solo("eval", "--data", f"coco:{tmp_path}", "--max-images", 2)
    assert code == 0
    assert out.startswith("2 pictures, 6 classes, network input 256x448, the best 500 candidates above 0.1, masks")
    assert "\nnot measured, unknown to the data set: ball\n" in out
    assert "not measured, unknown to the model: bubble\nCOCO mask AP (pycocotools)\n" in out
    for category in record["categories"]:
        category["name"] += " x"
    (tmp_path / "instances.json").write_text(json.dumps(record))
    assert "no class in common" in solo("eval", "--data", f"coco:{tmp_path}")[2]


def test_contact_sheet_shows_the_run(solo, tmp_path):
    sheet = tmp_path / "sheet.png"
    source = "test://?size=160x90&frames=30"
    code, out, _ = solo("run", "--source", source, "--contact-sheet", sheet)
    assert code == 0
    assert out.rstrip().endswith(str(sheet))
    picture = cv2.imread(str(sheet))
    assert picture.shape == (4 * 270 + 5 * 8, 3 * 480 + 4 * 8, 3)
    tiles = picture[8:-8, 8:-8]
    assert (
        len({tiles[y : y + 270, x : x + 480].tobytes() for y in range(0, 1100, 278) for x in range(0, 1400, 488)}) == 12
    )
    code, _, err = solo("run", "--source", source, "--contact-sheet", tmp_path / "sheet.txt")
    assert (code, "expected a file that ends in .png or .jpg" in err) == (2, True)


def test_a_folder_of_pictures_becomes_a_sheet_whatever_their_sizes(solo, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, size in (("a.jpg", (60, 80)), ("b.png", (90, 60)), ("c.png", (33, 35))):
        cv2.imwrite(str(tmp_path / "pictures" / name), np.full((*size, 3), 90, np.uint8))
    code, out, _ = solo("run", "--source", tmp_path / "pictures", "--output", tmp_path / "sheet.png", "--json")
    assert (code, json.loads(out)["frames"]["processed"]) == (0, 3)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (720 + 16, 3 * 480 + 4 * 8, 3)  # the tallest is the row


def test_contact_sheet_of_one_frame_is_one_tile(solo, tmp_path):
    assert solo("run", "--source", "test://?size=64x64&frames=1", "--contact-sheet", tmp_path / "s.JPG")[0] == 0
    assert cv2.imread(str(tmp_path / "s.JPG")).shape == (480 + 16, 480 + 16, 3)
    assert np.ptp(cv2.imread(str(tmp_path / "s.JPG"))) > 0
