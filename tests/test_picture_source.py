from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import times

from solo_rt.errors import SourceError
from solo_rt.source import open_source
from solo_rt.source.picture_header import holds_several, picture_size
from solo_rt.source.pictures import picture_paths, read_picture

RED = (200, 30, 60)


def save(path: Path, *, size: tuple[int, int] = (12, 8), value: int | None = None) -> None:
    """Write a picture of `size` = width, height: RED, or grey `value`."""
    colour = RED if value is None else (value, value, value)
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels[:, :, ::-1])[1].tobytes())


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for name in ("frame10.png", "frame2.PNG", "Frame1.png", "b.bmp", "notes.txt", ".hidden.png"):
        if name.lower().endswith(("png", "bmp")):
            save(tmp_path / name.replace("PNG", "png"))
            (tmp_path / name.replace("PNG", "png")).rename(tmp_path / name)
        else:
            (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    with open_source(str(tmp_path)) as source:
        frames = list(source)
        assert source.damage is None
        assert source.info.frame_count == 4
    assert [frame.name for frame in frames] == ["b.bmp", "Frame1.png", "frame2.PNG", "frame10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [float(t) for t in times(frames)] == [0.0, 0.04, 0.08, 0.12]
    assert {frame.pixel_format for frame in frames} == {"rgb24"}
    assert not frames[0].planes[0].flags.writeable


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000000139.png", "7.png"], [7, 139]),
        (["7.png"], [7]),
        (["1.png", "2.png", "front.png"], [None] * 3),
        (["1.png", "01.png"], [None] * 2),
        (["1.png", "1.bmp"], [None] * 2),
        (["٣.png"], [None]),
    ],
)
def test_numbers_are_those_of_pictures_if_each_has_one_of_its_own(tmp_path: Path, names, expected) -> None:
    for name in names:
        save(tmp_path / name)
    with open_source(str(tmp_path)) as source:
        assert [frame.image_id for frame in source] == expected


def test_a_pattern_may_descend(tmp_path: Path) -> None:
    for folder in ("day10", "day9"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "1.jpg")
        save(tmp_path / folder / "1.png")
    found = picture_paths(str(tmp_path / "**" / "*.jpg"))
    assert [path.parent.name for path in found] == ["day9", "day10"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("shot%03d.png", ["shot007.png", "shot010.png", "shot1000.png"]),
        ("shot%d.png", ["shot3.png", "shot1000.png"]),
        ("%d+.png", ["5+.png"]),
    ],
)
def test_numbered_pictures_are_named_as_printf_does(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in (
        "shot007.png",
        "shot010.png",
        "shot1000.png",
        "shot3.png",
        "shot0007.png",
        "shota.png",
        "5+.png",
        "55.png",
    ):
        save(tmp_path / name)
    with open_source(str(tmp_path / pattern)) as source:
        assert [frame.name for frame in source] == expected


def test_one_picture_is_a_source(tmp_path: Path) -> None:
    save(tmp_path / "größe 1.png", size=(7, 5))
    with open_source(str(tmp_path / "größe 1.png")) as source:
        assert (source.info.kind, source.info.width, source.info.height) == ("pictures", 7, 5)
        (frame,) = source
    assert frame.name == "größe 1.png"
    assert tuple(frame.planes[0][2, 3]) == RED


def test_a_name_with_brackets_is_a_file_when_there_is_one(tmp_path: Path) -> None:
    save(tmp_path / "[1].png")
    assert [path.name for path in picture_paths(str(tmp_path / "[1].png"))] == ["[1].png"]


@pytest.mark.parametrize(
    ("suffix", "pixels", "expected"),
    [
        (".png", np.full((8, 12), 90, np.uint8), 90),
        (".png", np.full((8, 12), 90 * 257, np.uint16), 90),
        (".tif", np.full((8, 12), 90 * 257, np.uint16), 90),
        (".png", np.full((8, 12, 4), 90, np.uint8), 90),
        (".pgm", np.full((8, 12), 90, np.uint8), 90),
        (".webp", np.full((8, 12, 3), 90, np.uint8), 90),
    ],
    ids=["grey", "16-bit", "tiff", "alpha", "pgm", "webp"],
)
def test_every_depth_becomes_8_bit_rgb(tmp_path: Path, suffix: str, pixels: np.ndarray, expected: int) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    rgb = read_picture(path, max_pixels=100)[0]
    assert (rgb.dtype, rgb.shape) == (np.uint8, (8, 12, 3))
    assert np.abs(rgb.astype(int) - expected).max() <= 1


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255  # left half white
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # 6: shown turned clockwise
    exif = b"Exif\x00\x00" + tiff
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    rgb = read_picture(tmp_path / "a.jpg", max_pixels=1000)[0]
    assert rgb.shape == (16, 8, 3)
    assert rgb[:7].min() > 200
    assert rgb[9:].max() < 50


def test_pictures_keep_their_sizes(tmp_path: Path) -> None:
    save(tmp_path / "1.png", size=(12, 8))
    save(tmp_path / "2.png", size=(5, 9))
    with open_source(str(tmp_path)) as source:
        assert [(frame.width, frame.height) for frame in source] == [(12, 8), (5, 9)]
        assert (source.info.width, source.info.height) == (12, 8)


def test_unreadable_pictures_are_skipped_counted_and_named(tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"bad{i}.png").write_bytes(b"no picture" * (i > 0))
    save(tmp_path / "good1.png")
    save(tmp_path / "good2.png")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
        damage = source.damage
    assert [(frame.name, frame.index, frame.pts) for frame in frames] == [("good1.png", 0, 0), ("good2.png", 1, 1)]
    assert damage is not None
    assert damage.startswith(f"{tmp_path}: 6 unreadable")
    assert all(word in damage for word in ("bad0.png", "bad2.png", "3 more"))


@pytest.mark.parametrize(("count", "end"), [(3, "bad2.png: not a picture, or damaged"), (4, "; and 1 more")])
def test_all_are_named_that_there_is_room_for(tmp_path: Path, count: int, end: str) -> None:
    save(tmp_path / "a.png")
    for i in range(count):
        (tmp_path / f"bad{i}.png").write_bytes(b"")
    with open_source(str(tmp_path)) as source:
        list(source)
        assert str(source.damage).endswith(end)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", ["no picture in the folder", "1 other"]),
        ("*.jpg", ["no picture matches the pattern", "0 other"]),
        ("**.png", ["'**' can only be an entire path component"]),
        ("*.txt", ["no picture matches the pattern", "1 other"]),
        ("none.png", ["no such file", "check the path"]),
        ("none", ["No such file"]),
    ],
)
def test_no_picture_is_an_error_at_once(tmp_path: Path, uri: str, words: list[str]) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError) as caught:
        open_source(str(tmp_path / uri))
    assert all(word in str(caught.value) for word in [str(tmp_path), *words])


def test_only_broken_pictures_are_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"none of 1 picture.*a\.png: not a picture, or damaged"):
        open_source(str(tmp_path))


# The header is read before the picture.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("size", [(1, 1), (13, 7), (300, 2)])
def test_the_header_tells_the_size(suffix: str, size: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    data = cv2.imencode(suffix, pixels)[1].ravel()
    assert picture_size(data) == size
    for cut in (0, 1, 9, 17):
        picture_size(data[:cut])  # says nothing or something, but raises nothing


def test_lossless_webp_tells_its_size() -> None:
    data = cv2.imencode(".webp", np.zeros((7, 13, 4), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].ravel()
    assert picture_size(data) == (13, 7)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(png)

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(SourceError, match="expected at most 67108864 pixels, got 60000x60000"):
        open_source(str(tmp_path / "a.png"))


def several(suffix: str) -> bytes:
    """Return a file of three pictures, of which the first is RED."""
    red = np.full((8, 12, 3), RED[::-1], np.uint8)
    pages = [red, red // 2, red // 3]
    if suffix == ".tif":
        return bytes(cv2.imencodemulti(suffix, pages)[1])
    animation = cv2.Animation()
    animation.frames, animation.durations = pages, np.full(3, 40, np.int32)
    return bytes(cv2.imencodeanimation(suffix, animation)[1])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_only_the_first_of_several_pictures_is_read_and_this_is_said_once(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / f"a{suffix}")
    for name in "bc":
        (tmp_path / f"{name}{suffix}").write_bytes(several(suffix))
    with open_source(str(tmp_path)) as source:
        frames = list(source)
        assert source.damage is None
    assert all(np.abs(frame.rgb()[4, 6].astype(int) - RED).max() <= 3 for frame in frames)
    assert [frame.name for frame in frames] == [f"{name}{suffix}" for name in "abc"]
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'b'}{suffix}: the file holds several pictures")


def test_a_tiff_with_a_thumbnail_is_one_picture() -> None:
    data = bytearray(several(".tif"))
    order = "<" if data.startswith(b"II") else ">"
    (first,) = struct.unpack(f"{order}I", data[4:8])
    (entries,) = struct.unpack(f"{order}H", data[first : first + 2])
    (second,) = struct.unpack(f"{order}I", data[first + 2 + 12 * entries : first + 6 + 12 * entries])
    tags = {struct.unpack(f"{order}H", data[at : at + 2])[0]: at for at in range(second + 2, second + 100, 12)}
    assert holds_several(np.frombuffer(data, np.uint8))
    at = min(tags.values())  # the smallest tag comes first; it becomes NewSubfileType, a reduced picture
    data[at : at + 12] = struct.pack(f"{order}HHII", 254, 4, 1, 1)
    assert not holds_several(np.frombuffer(data, np.uint8))


def test_gifs_among_pictures_are_passed_over_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "a.png")
    for name in ("b.gif", "c.GIF"):
        (tmp_path / name).write_bytes(b"GIF89a")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["a.png"]
    assert caplog.messages == [f"{tmp_path}: 2 GIF files are passed over; give them as sources of their own"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm"])
def test_libraries_say_nothing_of_bad_pictures(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / f"a{suffix}", size=(64, 48))
    data = (tmp_path / f"a{suffix}").read_bytes()
    middle = len(data) // 2
    bad = [data[:middle], data[:middle] + bytes(40) + data[middle + 40 :], data[:30] + bytes(8) + data[38:], data[:20]]
    for i, content in enumerate(bad):
        (tmp_path / f"b{i}{suffix}").write_bytes(content)
    with open_source(str(tmp_path)) as source:
        names = [frame.name for frame in source]
        assert names[0] == f"a{suffix}"
        assert source.damage is not None
    assert capfd.readouterr() == ("", "")


def test_the_cap_holds_for_formats_without_a_readable_header(tmp_path: Path) -> None:
    save(tmp_path / "a.ppm", size=(12, 8))
    read_picture(tmp_path / "a.ppm", max_pixels=96)
    with pytest.raises(SourceError, match="at most 95 pixels, got 12x8"):
        read_picture(tmp_path / "a.ppm", max_pixels=95)
