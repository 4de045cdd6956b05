"""Results sent to a Redis server of this machine, which is killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from clips import info, result_of, yuv_frame
from fakes import write_tiny_model
from redis_server import RedisServer, redis

from solo_rt import Hooks, Pipeline
from solo_rt.errors import SinkError, UsageError
from solo_rt.sink import Gap, broker, open_sink
from solo_rt.sink.broker_address import BrokerAddress

NOBODY = "redis://127.0.0.1:1/x"


@pytest.fixture
def server(tmp_path):
    with closing(RedisServer(tmp_path)) as started:
        yield started


def entries(server, stream="x", **options):
    with closing(server.client(**options)) as client:
        return [entry for _, entry in client.xrange(stream)]


def lines(server, stream="x", **options):
    return [json.loads(entry["line"]) for entry in entries(server, stream, **options)]


def frames(server):
    return [line["frame"] for line in lines(server) if "frame" in line]


def test_a_stream_holds_the_lines_of_a_file(server, tmp_path: Path) -> None:
    url, path = f"redis://127.0.0.1:{server.port}/x", tmp_path / "x.jsonl"
    sinks = [open_sink(uri, info=info(), model="m", classes=("cat",)) for uri in (url, str(path))]
    for sink in sinks:
        with sink:
            assert not sink.needs_picture
            sink.write(result_of(yuv_frame(0)))
            sink.note({"source_state": {"state": "live"}})
            sink.write(result_of(yuv_frame(1)))
            sink.resume(Gap(2, 3))
    sent = entries(server)
    assert "".join(entry["line"] for entry in sent) == path.read_text()
    assert [int(entry["number"]) for entry in sent] == list(range(6))
    assert len({entry["run"] for entry in sent}) == 1
    sinks[0].close()
    assert len(entries(server)) == 6, "nothing is added by a second close"


def test_opening_adds_nothing(server) -> None:
    open_sink(f"redis://127.0.0.1:{server.port}/x", info=info()).close()
    assert entries(server) == []


def test_two_runs_into_one_stream_are_told_apart(server) -> None:
    url = f"redis://127.0.0.1:{server.port}/x"
    with open_sink(url, info=info()) as one, open_sink(url, info=info()) as two:
        for sink in (one, two, one):
            sink.write(result_of(yuv_frame(0)))
    assert sorted(map(int, (entry["number"] for entry in entries(server)))) == [0, 0, 1, 1, 2, 2, 3]
    assert len({entry["run"] for entry in entries(server)}) == 2


def test_a_file_waits_for_a_server_that_was_killed_and_nothing_is_lost(server, tmp_path: Path, monkeypatch) -> None:
    write_tiny_model(tmp_path / "tiny.onnx")
    said: list[str] = []

    def hear(text: str, *values: object) -> None:
        said.append(text % values)
        if "waits" in text:
            server.start()

    monkeypatch.setattr(broker.log, "warning", hear)
    hooks = Hooks(on_frame=lambda result: server.kill() if result.frame.index in (20, 60) else None)
    url = f"redis://127.0.0.1:{server.port}/x"
    report = Pipeline("test://?frames=100&size=64x48", tmp_path / "tiny.onnx", [url], hooks=hooks).run()
    assert not report.failures
    header, *records, end = lines(server)
    assert header["model"]
    assert [record["frame"] for record in records] == list(range(100))
    assert end == {"end": {"results": 100}}
    assert [text.rpartition(";")[2] for text in said] == [" the source waits for it", " it lacks nothing"] * 2


def test_a_live_source_goes_on_without_the_server_and_names_the_gap(server) -> None:
    with open_sink(f"redis://127.0.0.1:{server.port}/x", info=info(live=True)) as sink:
        sink.write(result_of(yuv_frame(0)))
        server.kill()
        with pytest.raises(SinkError, match=r"Connection refused|closed by server"):
            sink.write(result_of(yuv_frame(1)))
        with pytest.raises(SinkError, match="Connection refused"):
            sink.resume(Gap(1, 1))
        server.start()
        sink.resume(Gap(1, 2))
        sink.write(result_of(yuv_frame(3)))
    assert [next(iter(line)) for line in lines(server)] == ["solo_rt", "frame", "gap", "frame", "end"]
    assert frames(server) == [0, 3]


@pytest.mark.parametrize("arrived", [True, False])
def test_an_entry_whose_answer_was_lost_is_there_once(server, monkeypatch: pytest.MonkeyPatch, arrived: bool) -> None:
    genuine, lost = redis.Redis.xadd, []

    def lose_one_answer(client, stream, entry, **options):
        if entry["number"] == 2 and not lost:
            lost.append(entry)
            if arrived:
                genuine(client, stream, entry, **options)
            raise redis.ConnectionError("the connection broke")
        return genuine(client, stream, entry, **options)

    monkeypatch.setattr(redis.Redis, "xadd", lose_one_answer)
    with open_sink(f"redis://127.0.0.1:{server.port}/x", info=info()) as sink:
        for i in range(4):
            sink.write(result_of(yuv_frame(i)))
    assert lost
    assert frames(server) == [0, 1, 2, 3]


def test_a_server_that_stays_away_is_given_up_and_tried_at_once_from_then_on(server, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(broker, "WAIT_SECONDS", 1.0)
    clock = iter(range(10_000))
    time = SimpleNamespace(sleep=pauses.append, monotonic=lambda: next(clock) / 50)
    monkeypatch.setattr(broker, "time", time)  # its own alone: the server is waited for by the real one
    with open_sink(f"redis://127.0.0.1:{server.port}/x", info=info()) as sink:
        sink.write(result_of(yuv_frame(0)))
        server.kill()
        with pytest.raises(SinkError):
            sink.write(result_of(yuv_frame(1)))
        assert pauses
        assert all(later == 2 * earlier for earlier, later in pairwise(pauses))
        waited = len(pauses)
        with pytest.raises(SinkError):
            sink.resume(Gap(1, 1))
        assert len(pauses) == waited
        server.start()
        sink.resume(Gap(1, 1))


def test_a_stream_keeps_about_as_many_entries_as_it_is_told(server) -> None:
    with open_sink(f"redis://127.0.0.1:{server.port}/x?maxlen=100", info=info()) as sink:
        for i in range(500):
            sink.write(result_of(yuv_frame(i)))
    assert 100 <= len(entries(server)) < 300  # Redis lets go of a hundred at once


def test_a_password_is_used_and_shown_nowhere(tmp_path: Path) -> None:
    password = "p@ss/w?rd #1"
    with closing(RedisServer(tmp_path, "--requirepass", password)) as server:
        place = f"127.0.0.1:{server.port}/x%2Fy"
        with open_sink(f"redis://:p%40ss%2Fw%3Frd%20%231@{place}?db=3", info=info()) as sink:
            sink.write(result_of(yuv_frame(0)))
        assert len(lines(server, "x/y", password=password, db=3)) == 3
        for wrong, reason in (("", "Authentication required"), ("someone:hunter2@", "invalid username-password pair")):
            with pytest.raises(UsageError, match=reason) as caught:
                open_sink(f"redis://{wrong}{place}", info=info())
            assert "hunter2" not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_an_encrypted_server_is_used_if_its_certificate_is_trusted(tmp_path: Path, monkeypatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-keyout", str(key), "-out", str(certificate)]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name, *made]
    subprocess.run(command, check=True, capture_output=True)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    with closing(RedisServer(tmp_path, *files)) as server:
        url = f"rediss://127.0.0.1:{server.port}/x"
        with pytest.raises(UsageError, match="certificate verify failed"):
            open_sink(url, info=info())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with open_sink(url, info=info()) as sink:
            sink.write(result_of(yuv_frame(0)))
        assert len(lines(server, ssl=True, ssl_ca_certs=str(certificate))) == 3


def test_what_is_no_stream_is_left_alone(server) -> None:
    with closing(server.client()) as client:
        client.set("x", "mine")
        with pytest.raises(UsageError, match="WRONGTYPE"):
            open_sink(f"redis://127.0.0.1:{server.port}/x", info=info())
        assert client.get("x") == "mine"


def test_a_server_that_hangs_is_given_up(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_SECONDS", 0.3)
    with open_sink(f"redis://127.0.0.1:{server.port}/x", info=info(live=True)) as sink:
        sink.write(result_of(yuv_frame(0)))
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(SinkError, match="Timeout"):
            sink.write(result_of(yuv_frame(1)))
        os.kill(server.pid, signal.SIGCONT)
        sink.resume(Gap(1, 1))


def test_nobody_there_is_one_line_before_anything_is_computed() -> None:
    with pytest.raises(UsageError, match=r"^output redis://\*\*\*@127.0.0.1:1/x: .*Connection refused") as caught:
        open_sink(NOBODY.replace("//", "//u:hunter2@"), info=info())
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_host_that_cannot_be_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^output redis://a\.\.b/x: "):
        open_sink("redis://a..b/x", info=info())


def test_an_address_has_its_parts() -> None:
    full = BrokerAddress.parse("rediss://me:a%40b@[::1]:7000/cam%20{source}?maxlen=5&db=2")
    assert full == BrokerAddress("::1", 7000, "cam {source}", "me", "a@b", True, 5, 2)
    assert BrokerAddress.parse("redis://host/a/b") == BrokerAddress("host", 6379, "a/b", None, None, False, None, 0)


@pytest.mark.parametrize(
    "rest",
    [
        "host", "host/", "/x", ":1/x", "host:99999/x", "host:port/x", "host/x#y", "host/x?maxlen=0", "host/x?maxlen=-1",
        "host/x?maxlen=many", "host/x?maxlen=1&maxlen=2", "host/x?size=3", "host/x?maxlen", "host/x?db=", "[::1/x",
        "host/x?maxlen=%D9%A3",
    ],
)  # fmt: skip
def test_an_address_that_lacks_a_part_is_refused_in_one_line_without_the_password(rest: str) -> None:
    with pytest.raises(UsageError, match=r"expected redis://HOST:PORT/STREAM") as caught:
        open_sink(f"redis://u:hunter2@{rest}", info=info())
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
