"""Which videos an archive has, and what they are called."""

from __future__ import annotations

import os

import pytest

from solo_rt.cluster.videos import find_videos
from solo_rt.errors import SourceError, UsageError


@pytest.fixture
def archive(tmp_path):
    for name in ("cam0.mp4", "day/cam1.MKV", "day/night/cam2.avi", "day/notes.txt", "day/photo.png", ".bin/old.mp4"):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return tmp_path / "archive"


def names(*sources, results="results"):
    return [video.name for video in find_videos(list(map(str, sources)), output_dir=sources[0].parent / results)]


def test_a_folder_gives_its_videos_at_any_depth_largest_first(archive):
    assert names(archive) == ["day/night/cam2.avi", "day/cam1.MKV", "cam0.mp4"]


def test_a_pattern_gives_what_matches_but_pictures_named_behind_what_has_no_wildcard(archive):
    assert names(archive / "**" / "*.mp4") == ["cam0.mp4"]
    assert names(archive / "day" / "*") == ["notes.txt", "cam1.MKV"]
    assert names(archive / "d*" / "*.MKV") == ["day/cam1.MKV"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**", ["day/night/cam2.avi", "day/notes.txt", "day/cam1.MKV", "cam0.mp4"]),
        ("**/night/*", ["day/night/cam2.avi"]),
        ("day/**/c*", ["night/cam2.avi", "cam1.MKV"]),
        ("*/night/*.avi", ["day/night/cam2.avi"]),
        ("d?y/[mn]otes.*", ["day/notes.txt"]),
        ("**/**/cam0.*", ["cam0.mp4"]),
    ],
)
def test_patterns_mean_what_they_mean_to_a_shell(archive, pattern, expected):
    assert sorted(names(archive / pattern)) == sorted(expected)


def test_folders_that_are_links_are_followed_but_not_in_circles(archive, tmp_path):
    (tmp_path / "disk2").mkdir()
    (tmp_path / "disk2" / "far.mp4").write_bytes(b"")
    (archive / "far").symlink_to(tmp_path / "disk2")
    (archive / "day" / "back").symlink_to(archive)
    expected = ["day/night/cam2.avi", "day/cam1.MKV", "cam0.mp4", "far/far.mp4"]
    assert names(archive) == expected
    assert names(archive / "**" / "*.mp4") == ["cam0.mp4", "far/far.mp4"]
    (tmp_path / "disk2" / "results").mkdir()
    (tmp_path / "disk2" / "results" / "far.mp4.mp4").write_bytes(b"")
    assert names(archive, results="disk2/results") == expected


def test_a_folder_that_cannot_be_read_is_named(archive, monkeypatch, caplog):
    scandir = os.scandir

    def refuse(path):  # who runs tests may be allowed everything
        if path == archive / "day":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(archive) == ["cam0.mp4"]
    assert caplog.messages == [f"{archive / 'day'}: Permission denied; what lies in it is left out"]


@pytest.mark.parametrize(("target", "why"), [("away.mp4", "No such file"), ("link.mp4", "Too many levels")])
def test_a_link_that_leads_nowhere_is_named_and_keeps_no_other_out(archive, caplog, target, why):
    (archive / "day" / "link.mp4").symlink_to(target)
    for source in (archive, archive / "**" / "*.m*"):
        caplog.clear()
        assert "cam0.mp4" in names(source)
        (message,) = caplog.messages
        assert message.startswith(f"{archive / 'day' / 'link.mp4'}: {why}")


def test_a_file_is_an_archive_of_one(archive):
    assert names(archive / "day" / "notes.txt") == ["notes.txt"]


def test_a_video_that_two_sources_name_is_there_once(archive):
    assert names(archive, archive / "cam0.mp4").count("cam0.mp4") == 1


def test_two_videos_of_one_name_are_refused(archive, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "cam0.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match=r"both called cam0\.mp4"):
        names(archive, other)


def test_results_inside_the_archive_are_no_videos_of_it(archive):
    (archive / "results").mkdir()
    (archive / "results" / "cam0.mp4.mp4").write_bytes(b"")
    assert "results/cam0.mp4.mp4" not in names(archive, results="archive/results")


@pytest.mark.parametrize("results", ["archive", "."])
def test_results_around_the_archive_are_refused(archive, results):
    with pytest.raises(UsageError, match="holds the archive itself"):
        names(archive, results=results)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "no such file"),
        ("*.webm", "no video"),
        ("x" * 300, "no such file|too long"),
        ("archive/day/*.png", "no video"),
    ],
)
def test_nothing_to_do_is_an_error(archive, source, message):
    with pytest.raises(SourceError, match=message):
        names(archive.parent / source)


@pytest.mark.parametrize("source", ["rtsp://user:secret@host/x", "test://", "-", ""])
def test_what_is_no_file_is_refused_without_its_secret(source, tmp_path):
    with pytest.raises(UsageError, match="expected files, a folder or a pattern") as caught:
        find_videos([source], output_dir=tmp_path / "results")
    assert "secret" not in str(caught.value)
