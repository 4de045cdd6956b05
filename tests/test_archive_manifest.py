"""What of an archive is done is known after whatever happened to the run that did it."""

from __future__ import annotations

from contextlib import closing

import pytest

from solo_rt.cluster.manifest import FILE, Entry, Manifest
from solo_rt.cluster.outputs import Written
from solo_rt.cluster.videos import Video
from solo_rt.errors import UsageError

SETTINGS = {"model": "abc", "conf": 0.25, "classes": ("person",)}


def video(name="a.mp4", *, size=7, changed=1):
    return Video(name, None, size, changed)


def entry(name="a.mp4", **values):
    return Entry(name, 7, 1, (Written(f"{name}.jsonl", 4, "00"),), 3, **values)


def begin(folder, *entries, **settings):
    with closing(Manifest(folder, {**SETTINGS, **settings})) as manifest:
        for one in entries:
            (folder / f"{one.video}.jsonl").write_bytes(b"1234")
            manifest.add(one)
        return manifest


def test_what_was_done_is_known_to_the_next_run(tmp_path):
    begin(tmp_path, entry(instances=5, engine="cpu", damage="cut off"))
    assert begin(tmp_path).entries == {"a.mp4": entry(instances=5, engine="cpu", damage="cut off")}


def test_the_last_line_of_a_video_counts(tmp_path):
    begin(tmp_path, entry(error="no memory"), entry())
    assert begin(tmp_path).has(video())


def test_a_torn_line_is_cut_off_and_the_next_one_is_whole(tmp_path):
    begin(tmp_path, entry("a.mp4"), entry("b.mp4"))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-5])
    begin(tmp_path, entry("c.mp4"))
    assert list(begin(tmp_path).entries) == ["a.mp4", "c.mp4"]


@pytest.mark.parametrize("begun", ["", "{", '{"archive": 2, "mod', '{"archive": 2}\n', '{"archive": 2}\n{"video": "a'])
def test_what_a_kill_left_of_the_beginning_is_begun_again(tmp_path, begun):
    (tmp_path / FILE).write_text(begun)
    begin(tmp_path, entry())
    assert begin(tmp_path).has(video())


def test_the_engine_is_that_of_the_last_result(tmp_path):
    assert begin(tmp_path).engine == ""
    begin(tmp_path, entry(engine="one"), entry("b.mp4", engine="two"), entry("c.mp4", error="broken", engine="three"))
    assert begin(tmp_path).engine == "two"


@pytest.mark.parametrize("changed", [video(size=8), video(changed=2), video("b.mp4")])
def test_a_video_that_is_new_or_has_changed_is_not_done(tmp_path, changed):
    manifest = begin(tmp_path, entry())
    assert manifest.has(video())
    assert not manifest.has(changed)


def test_a_video_that_failed_or_whose_results_are_gone_is_not_done(tmp_path):
    assert not begin(tmp_path, entry(error="broken")).has(video())
    manifest = begin(tmp_path, entry())
    (tmp_path / "a.mp4.jsonl").write_bytes(b"123")
    assert not manifest.has(video())
    (tmp_path / "a.mp4.jsonl").unlink()
    assert not manifest.has(video())


def test_other_settings_are_refused_by_name(tmp_path):
    begin(tmp_path, entry())
    with pytest.raises(UsageError, match="made with another model and another zones; choose another folder"):
        begin(tmp_path, model="def", zones=[1])


def test_settings_may_change_until_something_is_done(tmp_path):
    begin(tmp_path, model="def")
    begin(tmp_path, entry())
    assert begin(tmp_path).has(video())


def test_two_at_once_are_refused(tmp_path):
    with closing(Manifest(tmp_path, SETTINGS)), pytest.raises(UsageError, match="another run"):
        Manifest(tmp_path, SETTINGS)
    begin(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *("1\n2\n", "x\ny\n", "[]\n[]\n", '{"archive":2}\n{}\n', '{"archive": 1}\n{"video":1}\n'),
        *('{"audio": 1}', '{"audio": 1}\n', '{"audio": 1}\n{"audio": 2}', '{"audio": 1}\n{"audio": 2}\n{"audio": 3}'),
        *('{"archive": 2}\n{}\n{"video', '{"archive": 2, "model":\n\n'),
    ],
)
def test_another_file_in_its_place_is_left_alone(tmp_path, content):
    path = tmp_path / FILE
    path.write_text(content)
    with pytest.raises(UsageError, match="expected the manifest of an archive"):
        begin(tmp_path)
    assert path.read_text() == content
