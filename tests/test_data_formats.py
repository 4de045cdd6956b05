"""Results in the formats of others: what their own readers make of them is what was found."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from clips import info, no_instances, rgb_frame, run_child, yuv_frame
from found import CLASSES, found, result
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from solo_rt.errors import SinkError, UsageError
from solo_rt.pipeline.paths import refuse_overwriting
from solo_rt.result import Result
from solo_rt.sink import Gap, open_sink, ytvis
from solo_rt.types import DevicePicture, Frame, SemanticMap

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
BOXES = ((0, 0, 20, 10), (10, 5, 30, 25), (40, 20, 64, 48))
PALETTE = ((128, 64, 128), (70, 130, 180))
ALL = ["coco:a.json", "mots:a.txt", "ytvis:a.json", "a.parquet", "a.csv", "crops:a", "events:a.csv", "counts:a.csv"]


def write(uri: str, *results: Result, palette=(), **options) -> None:
    with open_sink(uri, info=info(), classes=CLASSES, palette=palette, **options) as sink:
        assert not sink.needs_picture
        for one in results:
            sink.write(one)


def semantic(index: int) -> Result:
    labels = np.zeros((6, 8), np.uint8)
    labels[:, : 2 + index] = 1
    return Result(yuv_frame(index), SemanticMap((48, 64), labels), CLASSES)


# COCO.


def test_pycocotools_loads_what_was_found(tmp_path: Path) -> None:
    results = [result(0, *BOXES), result(1), result(7, BOXES[2])]
    write(f"coco:{tmp_path}/a.json", *results)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i, "height": 48, "width": 64} for i in range(8)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [],
    }
    truth.createIndex()
    loaded = truth.loadRes(str(tmp_path / "a.json"))
    for given in results:
        entries = loaded.loadAnns(loaded.getAnnIds(imgIds=[given.frame.index]))
        assert [entry["category_id"] - 1 for entry in entries] == given.instances.class_ids.tolist()
        assert [entry["score"] for entry in entries] == pytest.approx(given.instances.scores.tolist(), abs=1e-5)
        for i, entry in enumerate(entries):
            np.testing.assert_array_equal(loaded.annToMask(entry), given.instances.dense(i))
            assert entry["bbox"] == list(coco_mask.toBbox(given.instances.rles()[i]))


@pytest.mark.parametrize(
    ("name", "image_id", "expected", "said"),
    [("000000139.jpg", 139, 139, 0), ("photo7.jpg", None, 5, 0), ("7.jpg", None, 5, 1), ("", None, 5, 0)],
)
def test_a_picture_is_called_by_its_number(tmp_path: Path, caplog, name, image_id, expected, said) -> None:
    frame = rgb_frame(np.zeros((48, 64, 3), np.uint8), index=5, name=name, image_id=image_id)
    write(f"coco:{tmp_path}/a.json", *[result(5, BOXES[0], frame=frame)] * 2)
    assert json.loads((tmp_path / "a.json").read_text())[0]["image_id"] == expected
    assert [message.partition(": ")[2] for message in caplog.messages] == said * [
        "image_id counts the pictures, of which not each is called by a number of its own"
    ]


def test_the_list_is_whole_behind_every_result(tmp_path: Path) -> None:
    counts = []
    with open_sink(f"coco:{tmp_path}/a.json", info=info()) as sink:
        for one in (result(0), result(1, *BOXES), result(2), result(3, BOXES[0]), result(4, *BOXES)):
            sink.write(one)
            counts.append(len(json.loads((tmp_path / "a.json").read_text())))
    assert counts == [0, 3, 3, 4, 7]


def test_a_killed_run_leaves_a_whole_list(tmp_path: Path) -> None:
    body = """
        from found import result
        with open_sink("coco:" + path, info=info()) as sink:
            for i in range(50):
                sink.write(result(i, (0, 0, 9, 9)))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_child(body, tmp_path / "a.json").returncode == -signal.SIGKILL
    assert [entry["image_id"] for entry in json.loads((tmp_path / "a.json").read_text())] == list(range(50))


@pytest.mark.parametrize("uri", ["coco:{}", "mots:{}", "{}"])
def test_a_disk_that_heals_gets_the_rest_and_nothing_torn(tmp_path: Path, uri: str) -> None:
    body = f"""
        from found import CLASSES, result
        from solo_rt.sink import Gap
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        sink = open_sink({uri!r}.format(path), info=info(), classes=CLASSES)
        try:
            for i in range(1000):
                sink.write(result(i, (0, 0, 9, 9), tracks=[1]))
        except SinkError as error:
            assert "File too large" in str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert sink.can_resume
        sink.resume(Gap(i, 1))
        sink.write(result(i + 1, (0, 0, 9, 9), tracks=[1]))
        sink.close()
        print(i)
    """
    path = tmp_path / "a.csv"
    done = run_child(body, path)
    assert (done.returncode, done.stderr) == (0, "")
    frames = [*range(int(done.stdout)), int(done.stdout) + 1]
    text = path.read_text()
    if uri.startswith("coco"):
        assert [entry["image_id"] for entry in json.loads(text)] == frames
    else:
        rows = text.replace(",", " ").splitlines()[uri == "{}" :]
        assert [int(row.split()[0]) for row in rows] == frames


def test_a_list_needs_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/null")
    with pytest.raises(UsageError, match="expected a file, got a pipe or a device"):
        open_sink(f"coco:{tmp_path}/a.json", info=info())


# MOTS and YouTube-VIS.


def read_mots(path: Path) -> list[tuple[list[int], np.ndarray]]:
    """Return the numbers and the mask of every line, as mots_tools does."""
    lines = []
    for line in path.read_text().splitlines():
        *numbers, rle = line.split(" ")
        frame, track, class_id, height, width = map(int, numbers)
        lines.append(([frame, track, class_id], coco_mask.decode({"size": [height, width], "counts": rle.encode()})))
    return lines


def test_mots_gives_each_pixel_to_one_object(tmp_path: Path) -> None:
    hidden = (2, 2, 8, 8)
    write(
        f"mots:{tmp_path}/a.txt",
        result(3, *BOXES, hidden, tracks=[7, 4, 9, 1]),
        result(4),
        result(5, BOXES[2], tracks=[9]),
    )
    lines = read_mots(tmp_path / "a.txt")
    assert [numbers for numbers, _ in lines] == [[3, 7, 1], [3, 4, 2], [3, 9, 1], [5, 9, 1]]
    whole = found(*BOXES)
    np.testing.assert_array_equal(lines[0][1], whole.dense(0))
    np.testing.assert_array_equal(lines[1][1], whole.dense(1) & ~whole.dense(0))
    assert sum(mask for _, mask in lines[:3]).max() == 1


def test_ytvis_has_an_entry_per_track(tmp_path: Path) -> None:
    first, second = result(0, *BOXES[:2], tracks=[5, 2]), result(4, BOXES[2], tracks=[2])
    write(f"ytvis:{tmp_path}/a.json", first, result(1), second)
    entries = json.loads((tmp_path / "a.json").read_text())
    assert [(entry["category_id"], entry["score"]) for entry in entries] == [(1, 0.7), (1, 0.9)]
    masks = [[code and coco_mask.decode(code) for code in entry["segmentations"]] for entry in entries]
    assert [[mask is not None for mask in row] for row in masks] == [[True, False, True], [True, False, False]]
    np.testing.assert_array_equal(masks[0][0], first.instances.dense(1))
    np.testing.assert_array_equal(masks[0][2], second.instances.dense(0))
    np.testing.assert_array_equal(masks[1][0], first.instances.dense(0))


def test_ytvis_leaves_what_is_there_until_its_own_is_made(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("of yesterday")
    monkeypatch.setattr(ytvis.YtvisSink, "_entries", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(f"ytvis:{path}", result(0, BOXES[0], tracks=[1]))
    assert path.read_text() == "of yesterday"


@pytest.mark.parametrize("uri", ["mots:a.txt", "ytvis:a.json"])
def test_objects_without_tracks_are_refused_in_one_line(tmp_path: Path, monkeypatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    sink = open_sink(uri, info=info())
    sink.write(result(0))
    with pytest.raises(SinkError, match=f"output {uri}: expected objects with tracks, got them without; add --track"):
        sink.write(result(1, *BOXES))
    assert not sink.can_resume, "trying again is of no use"
    sink.close()


# Tables.


@pytest.mark.parametrize("model", ["objects", "semantic"])
def test_csv_has_a_row_per_frame(tmp_path: Path, model: str) -> None:
    objects = [result(0, *BOXES), result(1), result(6, BOXES[0])]
    results = objects if model == "objects" else [semantic(i) for i in range(3)]
    write(str(tmp_path / "a.csv"), *results, palette=PALETTE if model == "semantic" else ())
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["frame", "time_s", "cat", "big dog"]
    if model == "objects":
        assert [[float(cell) for cell in row] for row in rows] == [[0, 0, 2, 1], [1, 0.033333, 0, 0], [6, 0.2, 1, 0]]
    else:
        assert [row[2:] for row in rows] == [["0.75", "0.25"], ["0.625", "0.375"], ["0.5", "0.5"]]


def test_shares_and_times_have_six_decimals(tmp_path: Path) -> None:
    labels = np.array([[0, 0, 1]], np.uint8)
    thirds = Result(yuv_frame(1), SemanticMap((48, 63), labels), CLASSES)
    write(str(tmp_path / "a.csv"), thirds, palette=PALETTE)
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "1,0.033333,0.666667,0.333333"


def test_a_table_of_classes_with_commas_is_quoted(tmp_path: Path) -> None:
    with open_sink(str(tmp_path / "a.csv"), info=info(), classes=('a, "b"', "größe")) as sink:
        sink.write(Result(yuv_frame(0), no_instances((48, 64)), ('a, "b"', "größe")))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["frame", "time_s", 'a, "b"', "größe"]


def test_parquet_has_a_row_per_object(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    picture = result(9, BOXES[1], tracks=[3], frame=rgb_frame(np.zeros((48, 64, 3), np.uint8), index=9, name="x.png"))
    write(str(tmp_path / "a.parquet"), result(0, *BOXES), result(1), picture)
    rows = table.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["frame"], row["class"], row["name"], row["track_id"]) for row in rows] == [
        (0, "cat", None, None),
        (0, "big dog", None, None),
        (0, "cat", None, None),
        (9, "cat", "x.png", 3),
    ]
    for row, (box, i) in zip(rows, [*((box, i) for i, box in enumerate(BOXES)), (BOXES[1], 1)], strict=True):
        assert (row["x0"], row["y0"], row["x1"], row["y1"]) == box
        code = {"size": [row["height"], row["width"]], "counts": row["rle"]}
        np.testing.assert_array_equal(coco_mask.decode(code), found(*BOXES).dense(i))


def test_parquet_takes_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    write(str(tmp_path / "a.parquet"), result(0, BOXES[0], frame=replace(yuv_frame(0), name="caf\udce9.png")))
    assert table.read_table(tmp_path / "a.parquet").to_pylist()[0]["name"] == "caf\\udce9.png"


def test_parquet_has_a_row_per_class_of_a_semantic_model(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    write(str(tmp_path / "a.parquet"), semantic(0), semantic(1), palette=PALETTE)
    rows = table.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["frame"], row["class"], row["share"]) for row in rows] == [
        (0, "cat", 0.75),
        (0, "big dog", 0.25),
        (1, "cat", 0.625),
        (1, "big dog", 0.375),
    ]


def test_parquet_rows_reach_the_disk_every_few_seconds(tmp_path: Path, monkeypatch) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    from solo_rt.sink import parquet

    monkeypatch.setattr(parquet, "FLUSH_SECONDS", 0.0)
    path = tmp_path / "a.parquet"
    with open_sink(str(path), info=info()) as sink:
        sizes = []
        for i in range(3):
            sink.write(result(i, *BOXES))
            sizes.append(path.stat().st_size)
    assert sorted(set(sizes)) == sizes
    assert table.ParquetFile(path).num_row_groups == 3


def test_parquet_keeps_few_rows_in_memory(tmp_path: Path, monkeypatch) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    from solo_rt.sink import parquet

    monkeypatch.setattr(parquet, "MOST_ROWS", 6)
    write(str(tmp_path / "a.parquet"), *(result(i, *BOXES) for i in range(5)))
    metadata = table.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [6, 6, 3]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"Parquet needs pyarrow; pip install 'solo-rt\[parquet\]'"):
        open_sink(str(tmp_path / "a.parquet"), info=info())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_fails_a_parquet_file_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.parquet").symlink_to("/dev/full")
    before = psutil.Process().num_fds()
    sink = open_sink(str(tmp_path / "a.parquet"), info=info())
    with pytest.raises(SinkError, match="No space left on device"):
        sink.write(result(0, *BOXES))
        sink.close()
    sink.close()
    assert psutil.Process().num_fds() == before


# Crops.


def test_objects_are_cut_out(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    write(f"crops:{tmp_path}/c", result(42, *BOXES, frame=rgb_frame(pixels, index=42)), result(43))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "000042_00_cat.png",
        "000042_01_big-dog.png",
        "000042_02_cat.png",
    ]
    whole = found(*BOXES)
    for i, (x0, y0, x1, y1) in enumerate(BOXES):
        (path,) = (tmp_path / "c").glob(f"*_{i:02d}_*")
        bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(bgra[..., 2::-1], pixels[y0:y1, x0:x1])
        np.testing.assert_array_equal(bgra[..., 3] > 0, whole.dense(i)[y0:y1, x0:x1])


def test_crops_keep_the_name_of_their_picture_and_leave_others_alone(tmp_path: Path) -> None:
    frame = rgb_frame(np.zeros((48, 64, 3), np.uint8), name="photo.jpg")
    write(f"crops:{tmp_path}/c", result(0, BOXES[0], frame=frame))
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["photo_00_cat.png"]
    with pytest.raises(UsageError, match=r"holds \.png files already"):
        open_sink(f"crops:{tmp_path}/c", info=info())
    write(f"crops:{tmp_path}/c", result(0, BOXES[0], frame=frame), overwrite=True)


def test_crops_go_on_when_their_folder_is_back(tmp_path: Path) -> None:
    sink = open_sink(f"crops:{tmp_path}/c", info=info())
    (tmp_path / "c").rmdir()
    with pytest.raises(SinkError, match="No such file"):
        sink.write(result(0, BOXES[0]))
    (tmp_path / "c").mkdir()
    assert sink.can_resume
    sink.resume(Gap(0, 1))
    sink.write(result(1, BOXES[0]))
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["000001_00_cat.png"]


def test_crops_of_frames_on_a_gpu_are_refused_in_one_line(tmp_path: Path) -> None:
    picture = DevicePicture((64, 64 + 64 * 48), (64, 64), 48, 64, owner=None)
    sink = open_sink(f"crops:{tmp_path}/c", info=info())
    with pytest.raises(SinkError, match="expected frames in host memory, got them on a GPU; use --decoder cpu"):
        sink.write(result(0, BOXES[0], frame=Frame((), "yuv420p", device=picture)))


# Addresses.


@pytest.mark.parametrize("uri", ["coco:a.json", "mots:a.txt", "ytvis:a.json", "crops:a"])
def test_formats_of_objects_refuse_a_semantic_model_at_once(tmp_path: Path, monkeypatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"expected a model that finds objects, got a semantic one; use \.jsonl"):
        open_sink(uri, info=info(), palette=PALETTE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ALL)
def test_nothing_is_written_without_a_result(tmp_path: Path, monkeypatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    if uri.endswith("parquet"):
        pytest.importorskip("pyarrow")
    open_sink(uri, info=info(), classes=CLASSES).close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("uri", ["coco:https://user:hunter2@host/a", "labels:rtsp://u:p@h", "crops:s3://a"])
def test_what_is_behind_the_colon_is_a_path(uri: str) -> None:
    with pytest.raises(UsageError, match="expected a path behind") as caught:
        open_sink(uri, info=info())
    assert "hunter2" not in str(caught.value)


def test_the_source_and_other_outputs_are_safe_from_each(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match="would overwrite pictures of the source"):
        open_sink(f"crops:{tmp_path}", info=info(uri=str(tmp_path)))
    with pytest.raises(UsageError, match="two outputs are the same"):
        refuse_overwriting("x", tmp_path / "m.onnx", [f"coco:{tmp_path}/r.json", f"ytvis:{tmp_path}/r.json"])
    (tmp_path / "in.json").write_text("precious")
    with pytest.raises(UsageError, match="would overwrite the source"):
        open_sink(f"coco:{tmp_path}/in.json", info=replace(info(), uri=str(tmp_path / "in.json")))
