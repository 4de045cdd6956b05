"""Downloads from a server that breaks them in every way, archives that lie, and what is left on disk."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import Solo

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data import download as downloads
from solo_rt.train.data.download import count_files, download
from solo_rt.train.data.download.sources import SOURCES, Archive, Source
from solo_rt.train.data.download.transfer import Patience, fetch
from solo_rt.train.data.download.unpack import unpack

HURRIED = Patience(timeout=20.0, attempts=3, pause=0.0)  # a busy machine answers late: only a mute host is given up
GIVING_UP = Patience(timeout=0.6, attempts=2, pause=0.0)
BODY = bytes(range(256)) * 1000  # 256 kB
SHA1 = hashlib.sha1(BODY).hexdigest()


class Host:
    """A server on this machine. Paths say how it behaves; `asked` keeps path and Range of every request."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[str, str | None]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, self.headers.get("Range")))
                getattr(self, "do_" + self.path.strip("/").split("/")[0])()

            def start(self) -> int:
                """Answer with the headers of the part asked for and return where it begins."""
                asked = self.headers.get("Range")
                begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                if begin >= len(host.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(host.body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return begin
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {begin}-{len(host.body) - 1}/{len(host.body)}")
                self.send_header("Content-Length", str(len(host.body) - begin))
                self.end_headers()
                return begin

            def do_whole(self) -> None:
                self.wfile.write(host.body[self.start() :])

            def do_truncated(self) -> None:
                """Break off after 100 kB, every time."""
                begin = self.start()
                self.wfile.write(host.body[begin : begin + 100_000])

            def do_once(self) -> None:
                """Break off after 100 kB, and refuse to go on."""
                self.send_error(503) if self.headers.get("Range") else self.do_truncated()

            def do_mute(self) -> None:
                """Announce the file, send nothing."""
                self.start()
                self.wfile.flush()
                host.closing.wait(5)

            def do_plain(self) -> None:
                """Know nothing of ranges."""
                self.send_response(200)
                self.send_header("Content-Length", str(len(host.body)))
                self.end_headers()
                self.wfile.write(host.body)

            def do_wrong(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(host.body)))
                self.end_headers()
                self.wfile.write(b"\0" * len(host.body))

            def do_missing(self) -> None:
                self.send_error(404)

            def do_busy(self) -> None:
                self.send_error(503)

            def log_message(self, *_: object) -> None:
                pass

        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # a client that gave up
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{behaviour}"

    def archive(self, *behaviours: str, **facts: object) -> Archive:
        urls = tuple(self.url(behaviour) for behaviour in behaviours)
        return replace(Archive("a.bin", urls, size=len(self.body), sha1=SHA1), **facts)

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host(BODY)
    yield server
    server.close()


def test_a_file_that_arrives_whole_has_its_name(host: Host, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    path, digest = fetch(host.archive("whole"), tmp_path / "new", on_bytes=lambda n, total: shown.append((n, total)))
    assert (path.read_bytes(), digest) == (BODY, f"sha1:{SHA1}")
    assert shown[-1] == (len(BODY), len(BODY))
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    fetch(host.archive("whole"), tmp_path / "new")
    assert len(host.asked) == 1, "what is there is not fetched again"


def test_a_broken_transfer_goes_on_where_it_was(host: Host, tmp_path: Path) -> None:
    path, _ = fetch(host.archive("truncated"), tmp_path, patience=replace(HURRIED, attempts=2))
    assert path.read_bytes() == BODY
    assert [asked for _, asked in host.asked] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_later_call_goes_on_too(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"once: HTTP 503 .*; try again later to go on"):
        fetch(host.archive("once"), tmp_path, patience=HURRIED)
    assert [asked for _, asked in host.asked] == [None] + ["bytes=100000-"] * 2
    assert (tmp_path / "a.bin.part").stat().st_size == 100_000
    fetch(host.archive("whole"), tmp_path, patience=HURRIED)
    assert host.asked[-1][1] == "bytes=100000-"
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_full_disk_is_noticed_before_it_is(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match=rf"expected {len(BODY)} bytes free in .* for a.bin, got 1000; make room"):
        fetch(host.archive("whole"), tmp_path)


def test_a_mute_host_is_given_up(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mute: no answer in time; try again later"):
        fetch(host.archive("mute"), tmp_path, patience=GIVING_UP)
    assert [path for path, _ in host.asked] == ["/mute", "/mute"]
    fetch(host.archive("mute", "whole"), tmp_path, patience=GIVING_UP)
    assert host.asked[-1][0] == "/whole"
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_host_without_ranges_sends_all_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"\1" * 1000)
    fetch(host.archive("plain"), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_another_address_is_asked_after_a_missing_file_at_once(host: Host, tmp_path: Path) -> None:
    fetch(host.archive("missing", "whole"), tmp_path, patience=HURRIED)
    assert [path for path, _ in host.asked] == ["/missing", "/whole"], "a file that is not there will not come"
    host.asked.clear()
    fetch(replace(host.archive("busy", "whole"), name="b.bin"), tmp_path, patience=HURRIED)
    assert [path for path, _ in host.asked] == ["/busy"] * 3 + ["/whole"]


def test_a_wrong_file_is_deleted_and_the_next_address_asked(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"expected sha1 {SHA1} of a.bin, got [0-9a-f]{{40}}: damaged, or another"):
        fetch(host.archive("wrong"), tmp_path, patience=HURRIED)
    assert list(tmp_path.iterdir()) == []
    fetch(host.archive("wrong", "whole"), tmp_path, patience=HURRIED)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_sizes_are_checked_where_there_is_no_hash(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected 5 bytes in a.bin, got 256000"):
        fetch(host.archive("whole", sha1=None, size=5), tmp_path, patience=HURRIED)
    _, digest = fetch(host.archive("whole", sha1=None, size=None), tmp_path)
    assert digest == f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def test_leftovers_of_any_length_are_dealt_with(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(BODY)  # whole, only its name is missing
    fetch(host.archive("whole", size=None), tmp_path, patience=HURRIED)
    (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(BODY + b"more")
    fetch(host.archive("whole", size=None), tmp_path, patience=HURRIED)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_every_failure_is_told(host: Host, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9/gone"
    archive = replace(host.archive("missing"), urls=(host.url("missing"), gone))
    with pytest.raises(DatasetError, match=r"missing: HTTP 404 .*; http://127.0.0.1:9/gone: .*; try again later"):
        fetch(archive, tmp_path, patience=replace(HURRIED, attempts=1))


def test_a_users_file_is_checked_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"something else")
    with pytest.raises(DatasetError, match="damaged, or another version"):
        fetch(Archive("a.bin", sha1=SHA1), tmp_path)
    assert (tmp_path / "a.bin").exists()


def packed_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("empty/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def packed_tar(files: dict[str, bytes], *, links: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if links:
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
                info = tarfile.TarInfo(f"link{kind.decode()}")
                info.type, info.linkname = kind, "/etc/passwd"
                archive.addfile(info)
    return out.getvalue()


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {"a.zip": packed_zip, "a.tgz": packed_tar}


@pytest.mark.parametrize("name", PACKERS)
def test_archives_give_their_files_and_no_links(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKERS[name]({"d/one.txt": b"1", "d/e/two.txt": b"22"}))
    (tmp_path / "out" / "d").mkdir(parents=True)
    (tmp_path / "out" / "d" / "one.txt").write_bytes(b"of an earlier, interrupted attempt")
    shown: list[tuple[int, int]] = []
    assert unpack(tmp_path / name, tmp_path / "out", on_files=lambda n, total: shown.append((n, total))) == 2
    files = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert files == {"d/one.txt": b"1", "d/e/two.txt": b"22"}
    assert shown == [(1, 2), (2, 2)]


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("path", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil"])
def test_archives_cannot_write_elsewhere(name: str, path: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKERS[name]({"good": b"1", path: b"2"}))
    with pytest.raises(DatasetError, match=r"expected paths inside the archive, got .*evil'; do not trust this file"):
        unpack(tmp_path / name, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == [name], "nothing was written"


@pytest.mark.parametrize("name", PACKERS)
def test_damaged_archives_say_so(name: str, tmp_path: Path) -> None:
    whole = PACKERS[name]({"one.txt": b"1" * 10_000})
    for damaged in (whole[: len(whole) // 2], b"nothing of the kind"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DatasetError, match=f"cannot unpack .*{name}: .*; delete it and download it again"):
            unpack(tmp_path / name, tmp_path / "out")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Two data sets on a host: one free, one that the user must bring."""
    body = packed_zip({"pictures/a.jpg": b"a", "pictures/b.jpg": b"b"})
    server = Host(body)
    archive = Archive("pictures.zip", (server.url("whole"),), len(body), hashlib.sha1(body).hexdigest())
    counts = (("pictures/*.jpg", 2),)
    monkeypatch.setitem(SOURCES, "free", Source("free", (archive,), counts))
    login = replace(archive, urls=())
    monkeypatch.setitem(SOURCES, "login", Source("login", (login,), counts, "log in at example.org"))
    monkeypatch.setenv("SOLO_RT_DATA", str(tmp_path / "data"))
    yield server
    server.close()


def test_a_data_set_is_unpacked_once(shop: Host, tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert download("free", root) == root / "free"
    assert sorted(p.name for p in (root / "free").iterdir()) == [".pictures.zip.json", "pictures"]
    stamp = json.loads((root / "free" / ".pictures.zip.json").read_text())
    assert (stamp["hash"][:5], stamp["files"]) == ("sha1:", 2)
    download("free", root)
    assert len(shop.asked) == 1
    (root / "free" / ".pictures.zip.json").write_text('{"hash": "sha1:0"}')  # of another version
    download("free", root, keep=True)
    assert len(shop.asked) == 2
    assert (root / "free" / "pictures.zip").exists()
    assert not (root / "free" / "free").exists()
    assert not (root / "free" / "pictures" / "pictures").exists()


def test_what_needs_a_login_is_brought_by_the_user(shop: Host, tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(
        DatasetError, match=r"login must be fetched by hand: log in at example.org, put pictures.zip into .*login, and"
    ):
        download("login", root)
    (root / "login").mkdir(parents=True)
    (root / "login" / "pictures.zip").write_bytes(b"a login page")
    with pytest.raises(DatasetError, match=r"bytes in pictures.zip, got 12"):
        download("login", root)
    (root / "login" / "pictures.zip").write_bytes(shop.body)
    download("login", root)
    assert (root / "login" / "pictures.zip").exists(), "it is the user's"
    assert [c.found for c in count_files("login", root)] == [2]
    (root / "login" / ".pictures.zip.json").unlink()
    (root / "login" / "pictures.zip").unlink()
    assert download("login", root) == root / "login", "unpacked by the user"


def test_the_command_downloads_and_counts(
    shop: Host, tmp_path: Path, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = solo("download", "free", "--verify")
    assert (code, "0 of 2 files" in out) == (1, True)
    code, out, _ = solo("download", "free")
    assert (code, out.strip()) == (0, str(tmp_path / "data" / "free"))
    code, out, _ = solo("download", "free", "--verify", "--json")
    assert (code, json.loads(out)) == (0, [{"pattern": "pictures/*.jpg", "expected": 2, "found": 2}])
    for picture in (tmp_path / "data" / "free" / "pictures").iterdir():
        picture.unlink()
    code, _, err = solo("download", "free")
    assert (code, "0 of 2 files pictures/*.jpg are in" in err, "to get them again, delete ." in err) == (2, True, True)
    assert solo("download", "free", "--root", tmp_path / "other")[1].strip() == str(tmp_path / "other" / "free")
    assert "cityscapes" in solo("download")[1]
    for option in ("--verify", "--keep"):
        code, _, err = solo("download", option)
        assert (code, err) == (2, f"solo-rt: error: {option}: expected the NAME of a data set as well\n")
    code, _, err = solo("download", "nothing")
    assert (code, "nothing known about a data set nothing; choose one of voc, voc-aug" in err) == (2, True)


def test_the_table_is_complete() -> None:
    for source in SOURCES.values():
        for archive in source.archives:
            assert archive.urls or source.instructions
            assert all(url.startswith(("http://", "https://")) for url in archive.urls)
            assert archive.sha1 is None or len(archive.sha1) == 40
        assert source.counts
    hashes = [a.sha1 for name, s in SOURCES.items() if name != "voc" for a in s.archives if a.sha1]
    assert len(set(hashes)) == len(hashes), "a hash that was copied to another file"
    with pytest.raises(UsageError, match="nothing known about"):
        downloads.find_source("")


def test_downloading_needs_no_torch() -> None:
    program = "import sys, solo_rt.train.data.download; print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
