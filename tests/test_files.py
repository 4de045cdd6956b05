from __future__ import annotations

import os
from pathlib import Path

import pytest

from solo_rt.errors import CacheError
from solo_rt.files import cache_folder, file_hash, file_sha256, replace_file, replaced_file


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "ä" * 120])
def test_a_file_takes_the_place_of_another(tmp_path, durable, name):
    for content in (b"one", memoryview(b"two")):
        replace_file(tmp_path / name, content, durable=durable)
        assert (tmp_path / name).read_bytes() == content
        assert names(tmp_path) == [name]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, error):
    replace_file(tmp_path / "a", b"old")
    with pytest.raises(error), replaced_file(tmp_path / "a") as part:
        part.write_bytes(b"half")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_until_the_end_a_reader_finds_the_old_file(tmp_path):
    replace_file(tmp_path / "a", b"old")
    with replaced_file(tmp_path / "a") as part:
        part.write_bytes(b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    with replaced_file(tmp_path / "a") as one, replaced_file(tmp_path / "a") as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert (tmp_path / "a").read_bytes() == b"one"  # whose body ended last
    assert names(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_is_the_callers_error(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("none", "file"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            replace_file(tmp_path / folder / "a", b"")


def test_a_durable_file_is_on_the_disk_before_its_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def spy_sync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().suffix or 'folder'}")
        sync(descriptor)

    def spy_rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_rename)
    replace_file(tmp_path / "a", b"", durable=True)
    assert done == ["sync .part", "rename", "sync folder"]


def test_a_file_that_can_be_made_again_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("it waits"))
    replace_file(tmp_path / "a", b"")
    with replaced_file(tmp_path / "b") as part:
        part.touch()


def test_hashes_are_those_of_the_whole_file(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * (3 << 19))
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "a") == "668a68546c4ad0e30842727a2c7f88d647cafd9842331f84ba10317f2193ad19"
    assert file_hash(tmp_path / "empty", "sha1") == "da39a3ee5e6b4b0d3255bfef95601890afd80709"


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SOLO_RT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "solo-rt"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/solo-rt")
    monkeypatch.setenv("SOLO_RT_CACHE", "/ours")
    assert cache_folder() == Path("/ours")


def test_without_a_home_folder_the_cache_is_where_it_is_said_to_be_or_nowhere(homeless, monkeypatch):
    with pytest.raises(CacheError, match="no home folder to keep anything in; set SOLO_RT_CACHE to a folder"):
        cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/solo-rt")
