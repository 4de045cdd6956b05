"""What the bytes of a video file tell of those that are missing."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import av
import pytest
from clips import write_clip

from solo_rt.source.structure import Structure


def box(kind: bytes, payload: bytes, *, long: bool = False) -> bytes:
    """Return a box of an MP4; with `long` its size has 64 bits."""
    if long:
        return (1).to_bytes(4, "big") + kind + (16 + len(payload)).to_bytes(8, "big") + payload
    return (8 + len(payload)).to_bytes(4, "big") + kind + payload


def is_cut_off(path: Path, content: bytes, container: str) -> bool:
    path.write_bytes(content)
    with closing(Structure(path, container)) as structure:
        return structure.is_cut_off(0)


@pytest.mark.parametrize("long", [False, True])
def test_boxes_end_where_they_say(tmp_path: Path, long: bool) -> None:
    whole = box(b"ftyp", b"isom") + box(b"mdat", bytes(40), long=long) + box(b"free", b"")
    assert not is_cut_off(tmp_path / "a", whole, "mov")
    last = len(whole) - 8
    for size in range(last - 40, len(whole)):
        is_whole = size >= last and not any(whole[last:size])  # zeros may be no box at all
        assert is_cut_off(tmp_path / "a", whole[:size], "mov") is not is_whole
    to_the_end = box(b"ftyp", b"isom") + bytes(4) + b"mdat" + bytes(9)
    assert not is_cut_off(tmp_path / "a", to_the_end, "mov")


def test_blocks_of_matroska_follow_one_another_unless_some_are_missing(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="mjpeg", pix_fmt="yuvj420p", count=9)
    with av.open(str(tmp_path / "a.mkv")) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    data = (tmp_path / "a.mkv").read_bytes()
    torn = data[: at[3] + 20] + data[at[4] + 20 :]
    for content, places, expected in ((data, at, False), (torn, [*at[:4], at[5] - at[4] + at[3]], True)):
        (tmp_path / "a.mkv").write_bytes(content)
        with closing(Structure(tmp_path / "a.mkv", "matroska")) as structure:
            assert [structure.is_torn(*pair) for pair in pairwise(places[:4])] == [False] * 3
            assert structure.is_torn(places[3], places[4]) is expected
