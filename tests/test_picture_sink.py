from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import info, result_of, rgb_frame, yuv_frame

from solo_rt.errors import SinkError, UsageError
from solo_rt.result import Result
from solo_rt.sink import open_sink, refuse_overwrite
from solo_rt.source import open_source
from solo_rt.types import Frame


def write(uri: str, frames: list[Frame], *, overwrite: bool = False) -> None:
    with open_sink(uri, info=info(), overwrite=overwrite) as sink:
        assert sink.needs_picture
        for frame in frames:
            sink.write(result_of(frame))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_png_holds_the_picture_exactly(tmp_path: Path) -> None:
    write(f"{tmp_path}/out/*.png", [rgb_frame(noise(), name="a.jpg")])
    assert names(tmp_path / "out") == ["a.png"]
    with open_source(str(tmp_path / "out")) as source:
        (frame,) = source
    np.testing.assert_array_equal(frame.planes[0], noise())


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    write(f"{tmp_path}/out/*.PNG", [rgb_frame(noise())])
    assert names(tmp_path / "out") == ["000000.png"]


def test_a_folder_gets_jpegs_named_by_frame_number(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(str(tmp_path / "out"), [yuv_frame(0), yuv_frame(7)])
    assert names(tmp_path / "out") == ["000000.jpg", "000007.jpg"]
    shown = cv2.imread(str(tmp_path / "out" / "000007.jpg"))[:, :, ::-1]
    assert np.abs(shown.astype(int) - yuv_frame(7).rgb()).mean() < 10


def test_the_annotated_picture_is_shown_under_the_frames_name(tmp_path: Path) -> None:
    plain, drawn = rgb_frame(noise(), name="a.jpg"), rgb_frame(noise(1))
    with open_sink(f"{tmp_path}/*.png", info=info()) as sink:
        sink.write(Result(plain, result_of(plain).instances, ("thing",), rendered=drawn))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1], noise(1))


def test_a_name_that_comes_twice_is_numbered(tmp_path: Path) -> None:
    write(f"{tmp_path}/out/", [rgb_frame(noise(i), index=i, name="a.png") for i in range(3)])
    assert names(tmp_path / "out") == ["a.jpg", "a_000001.jpg", "a_000002.jpg"]


def test_a_number_that_is_in_a_name_already_takes_nobodys_place(tmp_path: Path) -> None:
    called = ["a_000002.png", "a.png", "a.png"]
    write(f"{tmp_path}/out/", [rgb_frame(noise(i), index=i, name=name) for i, name in enumerate(called)])
    assert names(tmp_path / "out") == ["a.jpg", "a_000002.jpg", "a_000002_000002.jpg"]


def test_numbers_are_not_kept(tmp_path: Path) -> None:
    with open_sink(f"{tmp_path}/out/", info=info()) as sink:
        for i in range(3):
            sink.write(result_of(rgb_frame(noise(i), index=i)))
        assert not sink._files._names


def test_no_frame_leaves_an_empty_folder(tmp_path: Path) -> None:
    write(f"{tmp_path}/out/", [])
    assert names(tmp_path / "out") == []


def test_a_failed_write_leaves_no_torn_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = open_sink(f"{tmp_path}/out/", info=info())
    sink.write(result_of(rgb_frame(noise(), name="a.png")))
    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(SinkError, match="writing failed after 1 frames: No space left on device"):
        sink.write(result_of(rgb_frame(noise(), name="b.png")))
    assert names(tmp_path / "out") == ["a.jpg"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for uri, word in ((f"{tmp_path}/none/out/", "create it first"), (f"{tmp_path}/file/", "File exists")):
        with pytest.raises(UsageError, match=word):
            open_sink(uri, info=info())


@pytest.mark.parametrize("source", ["in", "in/a.png", "in/*.png"])
def test_a_contact_sheet_is_no_picture_of_the_source(tmp_path: Path, source: str) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "sheet.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", noise())[1].tobytes())
    with pytest.raises(UsageError, match="would overwrite the source; choose another file"):
        refuse_overwrite(str(tmp_path / source), f"{tmp_path}/in/a.png")
    refuse_overwrite(str(tmp_path / source), f"{tmp_path}/sheet.png")


def test_pictures_never_go_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(cv2.imencode(".png", noise())[1].tobytes())
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "out").mkdir()
    (tmp_path / "clip.mp4").touch()
    for source in ("in", "in/a.png", "in/*.png", "*/*.png"):
        for sink in ("in/", "link", "in/*.jpg"):
            with pytest.raises(UsageError, match="would overwrite pictures of the source"):
                refuse_overwrite(str(tmp_path / source), f"{tmp_path}/{sink}")
        refuse_overwrite(str(tmp_path / source), f"{tmp_path}/out/")
        refuse_overwrite(str(tmp_path / source), f"{tmp_path}/new/")
    refuse_overwrite(str(tmp_path / "clip.mp4"), f"{tmp_path}/")
    refuse_overwrite("test://", f"{tmp_path}/in/")


def test_null_keeps_nothing() -> None:
    with open_sink("null://", info=info()) as sink:
        assert not sink.needs_picture
        sink.write(result_of(yuv_frame(0)))
        assert getattr(sink, "written", None) == 1


def test_network_addresses_are_refused_without_showing_credentials() -> None:
    with pytest.raises(UsageError, match=r"http://\*\*\*@host/app: expected a video") as caught:
        open_sink("http://user:hunter2@host/app", info=info())
    assert "hunter2" not in str(caught.value)


def test_a_folder_with_such_pictures_is_left_alone_unless_told(tmp_path: Path) -> None:
    (tmp_path / "000000.jpg").write_text("precious")
    for uri in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/*.jpg"):
        with pytest.raises(UsageError, match=r"holds \.jpg files already; choose another one, or overwrite"):
            open_sink(uri, info=info())
    write(f"{tmp_path}/*.png", [yuv_frame(0)])
    assert (tmp_path / "000000.jpg").read_text() == "precious"
    write(str(tmp_path), [yuv_frame(0)], overwrite=True)
    assert (tmp_path / "000000.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_picture_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with open_sink(f"{tmp_path}/", info=info()) as sink:
        (tmp_path / "000001.jpg").write_text("precious")
        sink.write(result_of(yuv_frame(0)))
        with pytest.raises(SinkError, match=r"000001\.jpg is somebody else's"):
            sink.write(result_of(yuv_frame(1)))
        sink.write(result_of(yuv_frame(2)))
    assert names(tmp_path) == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert (tmp_path / "000001.jpg").read_text() == "precious"


def test_a_name_as_long_as_names_can_be_is_kept(tmp_path: Path) -> None:
    name = "x" * 251
    write(f"{tmp_path}/", [rgb_frame(noise(), name=f"{name}.png")])
    assert names(tmp_path) == [f"{name}.jpg"]
