"""Results of ranges put together: numbers of frames, ids of tracks, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask

from solo_rt.cluster.merging import Piece, merge
from solo_rt.cluster.stitching import Stitching


def square(x, track, *, size=8):
    """Return a tracked object: a square of a picture of 20x64, as in a line of JSON."""
    picture = np.zeros((20, 64), np.uint8, order="F")
    picture[4 : 4 + size, x : x + size] = 1
    rle = mask.encode(picture)
    return {"class": 0, "track_id": track, "rle": {"size": [20, 64], "counts": rle["counts"].decode()}}


def write(path, frames, *, first=0, end=True):
    """Write the JSON lines of frames, given by what is in each; a frame lasts 0.1 s."""
    records = [{"solo_rt": 2, "source": "x"}]
    for number, found in enumerate(frames):
        records.append({"frame": number, "pts": first + number, "time_base": [1, 10], "instances": found})
    records += [{"end": {"results": len(frames)}}] * end
    path.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return path


def ids(path):
    """Return the track ids of each frame, and check that frames are numbered."""
    records = [json.loads(line) for line in path.read_text().splitlines()[1:-1]]
    assert [record["frame"] for record in records] == list(range(len(records)))
    return [[one["track_id"] for one in record["instances"]] for record in records]


def test_frames_get_the_numbers_that_they_have_in_the_video_and_nothing_else_changes(tmp_path):
    parts = [write(tmp_path / "a", [[], [square(3, 1)]]), write(tmp_path / "b", [[square(4, 1)]] * 12, first=2)]
    merged = merge([Piece(parts[0], 2, 0), Piece(parts[1], 12, 0)], tmp_path / "all", tracked=False)
    assert merged == (14, 0)
    whole = write(tmp_path / "whole", [[], [square(3, 1)], *[[square(4, 1)]] * 12])
    assert (tmp_path / "all").read_bytes() == whole.read_bytes()


def test_frames_that_failed_keep_their_numbers(tmp_path):
    first = write(tmp_path / "a", [[], [], []])
    lines = first.read_text().splitlines(keepends=True)
    first.write_text("".join(lines[:2] + lines[3:]))
    second = write(tmp_path / "b", [[]], first=3)
    assert merge([Piece(first, 3, 0), Piece(second, 1, 0)], tmp_path / "all", tracked=False) == (3, 0)
    records = [json.loads(line) for line in (tmp_path / "all").read_text().splitlines()]
    assert [record["frame"] for record in records[1:-1]] == [0, 2, 3]
    assert records[-1] == {"end": {"results": 3}}


def test_tracks_that_go_on_keep_their_ids_and_new_ones_get_others(tmp_path):
    first = write(tmp_path / "a", [[square(3, 1), square(30, 2)], [square(4, 1), square(31, 2)]])
    # One frame of both; of the range the tracks 1 and 2 are 2 and 1 before, and 3 is new.
    second = [[square(31, 1), square(4, 2)], [square(32, 1), square(5, 2)], [square(50, 3), square(6, 2)]]
    pieces = [Piece(first, 2, 0), Piece(write(tmp_path / "b", second, first=1), 3, 1)]
    assert merge(pieces, tmp_path / "all", tracked=True) == (4, 8)
    assert ids(tmp_path / "all") == [[1, 2], [1, 2], [2, 1], [3, 1]]


def test_a_track_that_lies_elsewhere_is_another_one(tmp_path):
    first = write(tmp_path / "a", [[square(3, 1)], [square(3, 1)]])
    second = write(tmp_path / "b", [[square(8, 1)], [square(8, 1)]], first=1)
    merge([Piece(first, 2, 0), Piece(second, 2, 1)], tmp_path / "all", tracked=True)
    assert ids(tmp_path / "all") == [[1], [1], [2]]


def test_two_tracks_never_get_one_id_and_the_longest_overlap_counts(tmp_path):
    frames = [[square(3, 1)]] * 4
    first = write(tmp_path / "a", frames)
    torn = [[square(3, 1)], [square(3, 2)], [square(3, 2)], [square(3, 1), square(4, 2)]]
    second = write(tmp_path / "b", torn, first=1)
    merge([Piece(first, 4, 0), Piece(second, 4, 3)], tmp_path / "all", tracked=True)
    assert ids(tmp_path / "all") == [[1], [1], [1], [1], [2, 1]]


def test_frames_without_objects_and_ranges_without_a_lead_are_stitched_as_well(tmp_path):
    first = write(tmp_path / "a", [[square(3, 5)], []])
    second = write(tmp_path / "b", [[], [square(3, 5)]], first=1)
    third = write(tmp_path / "c", [[square(3, 5)]], first=3)
    merge([Piece(first, 2, 0), Piece(second, 2, 1), Piece(third, 1, 0)], tmp_path / "all", tracked=True)
    assert ids(tmp_path / "all") == [[1], [], [2], [3]]


def test_only_the_last_frames_are_kept_for_the_next_range():
    stitching = Stitching()
    for pts in range(5):
        stitching.keep(pts, [square(3, 1)], since=pts - 2)
    stitching.begin({1: [square(3, 7)]})
    assert stitching.id_of(7) == 1  # new: the frame is forgotten, and nobody has an id yet
    stitching.keep(9, [square(3, 1)], since=7)
    stitching.begin({9: [square(3, 4)]})
    assert (stitching.id_of(4), stitching.id_of(5)) == (1, 2)


@pytest.mark.parametrize("line", ['{"gap":{"frame":1,"frames":2}}', "torn"])
def test_a_range_with_something_else_in_it_is_refused(tmp_path, line):
    path = write(tmp_path / "a", [[], []])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:], ""]))
    with pytest.raises(ValueError, match="expected a frame"):
        merge([Piece(path, 2, 0)], tmp_path / "all", tracked=False)


def test_a_range_without_its_end_is_refused(tmp_path):
    path = write(tmp_path / "a", [[], []], end=False)
    with pytest.raises(ValueError, match="a range has no end"):
        merge([Piece(path, 2, 0)], tmp_path / "all", tracked=False)
