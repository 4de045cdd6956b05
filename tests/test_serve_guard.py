from __future__ import annotations

import base64
import json
import socket

import pytest
from fakes import ends_all_threads
from sites import TOKEN, ask, connect, get, read_answer, request, site, state

from solo_rt.serve import Site, app, connection

HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
             "Sec_WebSocket_Version": "13"}  # fmt: skip
OWN = "http://127.0.0.1:{port}"
EVERYWHERE = {
    "content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cache-control",
    "cross-origin-resource-policy",
}  # fmt: skip


@pytest.fixture(scope="module")
def served():
    with ends_all_threads(), site("cam0") as (served, _):
        yield served


@pytest.fixture(scope="module")
def locked():
    with site("cam0", token=TOKEN) as (served, _):
        yield served


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:{port}", 200), ("127.8.8.8", 200), ("127.0.0.1:1", 200),  # the port may be that of a tunnel
        (socket.gethostname(), 200),
        ("evil.example", 403), ("evil.example:{port}", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil", 403),
        ("10.0.0.7", 403), ("192.168.1.2:{port}", 403), ("[fe80::1]", 403), ("0.0.0.0", 403), ("", 403), ("@", 403),
        ("localhost@evil.example", 403), ("localhost/evil", 403), ("localhost:99999999", 403), ("[::1", 403),
        ("2130706433", 403), ("0x7f.1", 403), ("localhost#", 403), ("löcalhost", 403),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_hosts(served, host, status):
    answer = get(served, "/api/state", host=host.format(port=served.address.port))
    assert answer.status == status
    assert set(answer.headers) >= EVERYWHERE


@pytest.mark.parametrize(("host", "status"), [("10.0.0.7:80", 200), ("[fe80::1]", 200), ("evil.example", 403)])
def test_with_a_token_any_number_is_a_host_but_no_foreign_name(locked, host, status):
    assert get(locked, "/api/state", host=host, Authorization=f"Bearer {TOKEN}").status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": OWN}, 200), ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403), ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "http://["}, 403), ({"Origin": "http://a]"}, 403), ({"Origin": "http://[abc]"}, 403),
        ({"Origin": "ftp://127.0.0.1:{port}"}, 403), ({"Origin": OWN + ".evil"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200), ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}, 403),
    ],
)  # fmt: skip
def test_other_sites_get_and_embed_nothing(served, headers, status):
    given = {name: value.format(port=served.address.port) for name, value in headers.items()}
    for path in ("/sources/cam0.jpg", "/"):
        answer = get(served, path, **given)
        assert answer.status == status
        assert not {name for name in answer.headers if name.startswith("access-control")}


@pytest.mark.parametrize(
    ("origin", "status"),
    [(OWN, 101), (None, 101), ("http://evil.example", 403), ("null", 403), ("http://127.0.0.1", 403)],
)
def test_a_websocket_is_opened_for_the_page_only(served, origin, status):
    headers = {} if origin is None else {"Origin": origin.format(port=served.address.port)}
    with connect(served) as client:
        client.sendall(request(served, "/api/pictures", **HANDSHAKE, **headers).replace(b"Connection: close\r\n", b""))
        assert client.recv(12) == f"HTTP/1.1 {status}".encode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200), ("/page.js", 200), ("/healthz", 200), ("/metrics", 200), ("/api/state", 200), ("/?x=1", 200),
        ("/sources/cam0.jpg?width=32&conf=0.5&classes=cat,1-4", 200),
        ("/../etc/passwd", 404), ("/..%2f..%2fetc%2fpasswd", 404), ("/%2e%2e/%2e%2e/etc/passwd", 404), ("/page/", 404),
        ("/page.js/../../site.py", 404), ("/site.py", 404), ("//etc/passwd", 404), ("/page.js%00.css", 404),
        ("/.git", 404),
        ("/%c0%ae%c0%ae/", 404), ("/..%5c..%5cwindows", 404), ("/PAGE.JS", 404), ("/page.js/", 404),
        ("/index.html", 404),
        ("/sources/../../etc/passwd.jpg", 404), ("/sources/%2e%2e%2fcam0.jpg", 404), ("/sources/cam1.jpg", 404),
        ("/sources/cam0.png", 404), ("/sources/.jpg", 404), ("/api/results/..%2f..%2fetc", 404), ("/api/pictures", 404),
        ("/sources/cam0.jpg?width=-1", 400), ("/sources/cam0.jpg?width=99999", 400),
        ("/sources/cam0.jpg?conf=nan", 400),
        ("/sources/cam0.jpg?boxes=yes", 400), ("/sources/cam0.jpg?boxes=1&boxes=0", 400),
        ("/sources/cam0.jpg?x=1", 400),
        ("/sources/cam0.jpg?classes=0-99999", 400), ("/sources/cam0.jpg?classes=nothing", 400),
        ("/sources/cam0.jpg?" + "&".join(f"a{i}=1" for i in range(50)), 400), ("/sources/cam0.jpg?=", 400),
        ("/" + "a" * 6000, 404), ("/?" + "a" * 9000, 431),
    ],
)  # fmt: skip
def test_paths_lead_to_what_there_is_and_nowhere_else(served, path, status):
    assert get(served, path).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "GETT"])
def test_nothing_is_changed_by_a_request(served, method):
    answer = ask(served, request(served, "/api/state", method=method))
    assert answer is not None
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"Content_Length": "65537"}, "POST", 413), ({"Content_Length": "99999999999"}, "GET", 413),
        ({"Content_Length": "10"}, "GET", 400), ({"Transfer_Encoding": "chunked"}, "GET", 400),
        ({"Transfer_Encoding": "chunked"}, "POST", 405), ({"Content_Length": "-1"}, "GET", 400),
        ({"Content_Length": "0"}, "GET", 200), ({"Expect": "100-continue", "Content_Length": "9"}, "POST", 405),
        ({"Transfer_Encoding": "gzip"}, "GET", 400), ({"Content_Length": "5", "Content_length": "6"}, "GET", 400),
        ({"X": "a" * 9000}, "GET", 431),
    ],
)  # fmt: skip
def test_bodies_are_refused_without_being_read(served, headers, method, status):
    answer = ask(served, request(served, "/api/state", method=method, **headers))
    assert answer is not None
    assert answer.status == status


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n",
     b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_answered_with_400(served, data):
    answer = ask(served, data)
    assert answer is not None
    assert answer.status == 400


def test_several_requests_in_one_piece_are_answered_in_turn(served):
    one = request(served, "/healthz").replace(b"Connection: close\r\n", b"")
    with connect(served) as client:
        client.sendall(one + one + request(served, "/metrics"))
        answer = read_answer(client)
    assert answer is not None
    assert answer.body.count(b"HTTP/1.1 200") == 2
    assert b"solo_rt_fps" in answer.body


def test_head_says_what_get_would_without_a_body(served):
    for path in ("/", "/api/state", "/sources/cam0.jpg", "/sources/cam0.mjpg", "/api/events"):
        answer = ask(served, request(served, path, method="HEAD"))
        assert answer is not None
        assert (answer.status, answer.body) == (200, b"")


def test_a_request_that_never_ends_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost: loc"):
        with connect(served) as client:
            client.sendall(beginning)
            assert read_answer(client) is None


def test_who_says_no_more_may_leave_before_the_answer(served):
    with connect(served) as client:
        client.sendall(request(served, "/api/events"))
        client.shutdown(socket.SHUT_WR)
        read_answer(client)
    assert state(served)["viewers"] == 0


def test_who_connects_and_leaves_costs_nothing(served):
    for _ in range(200):
        connect(served).close()
    assert get(served, "/healthz").status == 200


def test_more_connections_than_can_be_are_refused(served, monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 5)
    clients = [connect(served) for _ in range(5)]
    with connect(served) as one_more:
        assert read_answer(one_more) is None
    for client in clients:
        client.close()


def test_there_is_room_for_so_many_viewers_and_again_when_one_has_left(monkeypatch):
    monkeypatch.setattr(app, "MOST_VIEWERS", 2)
    with site("cam0") as (served, _):
        clients = []
        for _ in range(2):
            clients.append(connect(served))
            clients[-1].sendall(request(served, "/sources/cam0.mjpg"))
            assert clients[-1].recv(12) == b"HTTP/1.1 200"
        refused = get(served, "/sources/cam0.mjpg")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert get(served, "/api/state").status == 200
        handshake = request(served, "/api/pictures", **HANDSHAKE).replace(b"Connection: close\r\n", b"")
        answer = ask(served, handshake)
        assert answer is not None
        assert (answer.status, answer.error) == (503, "2 viewers are there already; try again later")
        clients.pop().close()
        while get(served, "/sources/cam0.jpg").status == 503:
            pass
        clients.pop().close()


def test_without_the_token_there_is_nothing_but_whether_all_is_well(locked):
    private = ["/", "/page.js", "/api/state", "/metrics", "/sources/cam0.jpg", "/api/events", "/nothing"]
    for path in (*private, "/?token=", "/?token=x"):
        answer = get(locked, path)
        assert answer.status == 401
        assert TOKEN not in answer.error
    assert get(locked, "/healthz").body == b'{"status": "ok"}'
    with connect(locked) as client:
        client.sendall(request(locked, "/api/pictures", **HANDSHAKE).replace(b"Connection: close\r\n", b""))
        assert client.recv(12) == b"HTTP/1.1 401"


def test_the_token_lets_programs_in_as_a_header(locked):
    basic = base64.b64encode(f":{TOKEN}".encode()).decode()
    assert get(locked, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert get(locked, "/metrics", Authorization=f"Basic {basic}").status == 200
    wrong = [f"Bearer {TOKEN}x", "Bearer", "Bearer ü", "Basic !", "Basic ", f"Basic {basic[:-4]}", TOKEN]
    assert {get(locked, "/metrics", Authorization=value).status for value in wrong} == {401}


def test_players_are_asked_for_a_password_and_browsers_are_not(locked):
    kinds = {path: get(locked, path).headers["www-authenticate"] for path in ("/", "/api/state", "/sources/cam0.mjpg")}
    assert kinds == {"/": "Bearer", "/api/state": "Bearer", "/sources/cam0.mjpg": 'Basic realm="solo-rt"'}


def test_the_token_becomes_a_cookie_that_stays_in_the_browser(locked):
    answer = get(locked, f"/?token={TOKEN}")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert (answer.status, answer.headers["refresh"]) == (200, "0; url=/")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert TOKEN not in cookie
    assert get(locked, "/api/state", Cookie=f"a=b; {cookie}; c").status == 200
    assert get(locked, "/api/state", Cookie=cookie + "x").status == 401
    assert get(locked, "/page.js", Cookie="ü=ü;;=").status == 401
    assert get(locked, f"/api/state?token={TOKEN}").status == 401


def test_answers_do_not_say_what_serves_them(served):
    assert "server" not in get(served, "/").headers


def test_a_failure_of_ours_is_a_number_and_not_its_reason(served, monkeypatch, caplog):
    monkeypatch.setattr(app, "write_metrics", lambda *_, **__: 1 / 0)
    answer = get(served, "/metrics")
    assert answer.status == 500
    assert "zero" not in answer.error
    assert json.loads(answer.body)["error"].split()[1].rstrip(";") in caplog.text


def test_nothing_is_left_on_the_terminal_by_strangers(served, capfd):
    ask(served, b"\x00\r\n\r\n")
    get(served, "/nothing")
    assert capfd.readouterr() == ("", "")


def test_every_address_but_loopback_gets_a_token():
    with Site("0.0.0.0:0") as open_to_all:
        assert open_to_all.token is not None
        assert len(open_to_all.token) >= 24
        assert get(open_to_all, "/api/state", host="127.0.0.1").status == 401
        assert state(open_to_all)["sources"] == []
