"""PNG files of class ids: values, colours, names and refusals."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import info, no_instances, rgb_frame
from label_twin import blobs

from solo_rt.errors import SinkError, UsageError
from solo_rt.pipeline.paths import refuse_overwriting
from solo_rt.result import Result
from solo_rt.sink import open_sink, refuse_overwrite
from solo_rt.sink.labels import encode_png
from solo_rt.types import Frame, SemanticMap

PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142))
SIZE = (22, 31)


def result(index: int = 0, *, name: str = "", size: tuple[int, int] = SIZE) -> Result:
    labels = blobs(np.random.default_rng(index), (9, 14), [0, 1, 2, 255], 2)
    frame = Frame(
        (np.zeros((*size, 3), np.uint8),), "rgb24", index=index, pts=index, time_base=Fraction(1, 25), name=name
    )
    return Result(frame, SemanticMap(size, labels), ("a", "b", "c"))


def pixels(png: bytes) -> np.ndarray:
    """Return the values stored in a PNG of one byte per pixel, read by the book."""
    parts, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        parts[kind] = content
        at += 12 + length
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)


@pytest.mark.parametrize("size", [SIZE, (1, 1), (1, 9), (9, 1), (480, 641)])
def test_values_are_class_ids_and_viewers_show_the_palette(size):
    labels = blobs(np.random.default_rng(3), size, [0, 1, 2, 255])
    png = encode_png(labels, PALETTE)
    np.testing.assert_array_equal(pixels(png), labels)
    colours = np.zeros((256, 3), np.uint8)
    colours[:3] = PALETTE
    shown = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(shown, colours[labels])


def test_one_file_per_frame_at_the_size_of_the_frame(tmp_path: Path):
    results = [result(0), result(7), result(8, name="munster_3.jpg"), result(9, name="munster_3.png")]
    with open_sink(f"labels:{tmp_path}/out", info=info(), palette=PALETTE) as sink:
        assert not sink.needs_picture
        for each in results:
            sink.write(each)
    names = ["000000.png", "000007.png", "munster_3.png", "munster_3_000009.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name, each in zip(names, results, strict=True):
        assert each.semantic is not None
        np.testing.assert_array_equal(pixels((tmp_path / "out" / name).read_bytes()), each.semantic.dense())


def test_a_model_of_instances_has_no_labels(tmp_path: Path):
    with pytest.raises(UsageError, match="labels are those of a semantic model, and this one finds instances"):
        open_sink(f"labels:{tmp_path}/out", info=info())
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_written_are_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for place in ("file", "file/deeper", "no/such"):
        with pytest.raises(UsageError, match=f"output labels:{tmp_path}/{place}"):
            open_sink(f"labels:{tmp_path}/{place}", info=info(), palette=PALETTE)


def test_labels_never_overwrite_the_pictures_they_were_made_from(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    for source in (str(tmp_path), f"{tmp_path}/*.png", f"{tmp_path}/a.png"):
        with pytest.raises(UsageError, match="would overwrite pictures of the source; choose another folder"):
            refuse_overwrite(source, f"labels:{tmp_path}")


def test_labels_and_pictures_cannot_be_the_same_files(tmp_path: Path):
    model = tmp_path / "m.onnx"
    with pytest.raises(UsageError, match="two outputs are the same"):
        refuse_overwriting("test://", model, [f"{tmp_path}/out/*.png", f"labels:{tmp_path}/out/"])
    refuse_overwriting("test://", model, [f"{tmp_path}/out/", f"labels:{tmp_path}/out"])  # JPEG and PNG


def test_a_failed_write_says_so(tmp_path: Path):
    sink = open_sink(f"labels:{tmp_path}/out", info=info(), palette=PALETTE)
    sink.write(result(0))
    (tmp_path / "out" / "000000.png").unlink()
    (tmp_path / "out").rmdir()
    with pytest.raises(SinkError, match="writing failed after 1 frames"):
        sink.write(result(1))


def test_records_hold_the_classes_that_occur(tmp_path: Path):
    each = result(4, name="x.jpg")
    record = each.to_record()
    assert "instances" not in record
    assert [set(entry) for entry in record["classes"]] == [{"class_id", "class", "share"}] * 3
    assert each.semantic is not None
    for entry in record["classes"]:
        assert entry["class"] == "abc"[entry["class_id"]]
        assert entry["share"] == pytest.approx((each.semantic.dense() == entry["class_id"]).mean(), abs=1e-6)
    assert (record["frame"], record["name"], record["size"]) == (4, "x.jpg", list(SIZE))
    assert "classes" not in Result(rgb_frame(np.zeros((*SIZE, 3), np.uint8)), no_instances(SIZE), ()).to_record()
