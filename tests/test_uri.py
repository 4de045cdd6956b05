from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solo_rt.uri import expand_home, redact, scheme


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://cam/stream", "rtsp://cam/stream"),
        ("rtsp://user:secret@cam:554/stream", "rtsp://***@cam:554/stream"),
        ("http://cam/live?token=secret", "http://cam/live?***"),
        ("rtsp://user:p@ss/word@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://user:pass?word@cam/stream", "rtsp://***"),
        ("http://user:pw@cam/live?mail=me@secret", "http://***"),
        ("rtmp://host/app/key-that-sends", "rtmp://host/app/***"),
        ("rtmp://host/app", "rtmp://host/app"),
        ("test://?seed=3", "test://?seed=3"),
        ("door=rtsp://user:secret@cam/stream?token=secret", "door=rtsp://***@cam/stream?***"),
        ("a=b?c@d.mp4", "a=b?c@d.mp4"),
        ("holiday@home?.mp4", "holiday@home?.mp4"),
        ("/data/a.mp4", "/data/a.mp4"),
        ("", ""),
    ],
)
def test_redact_hides_secrets_and_nothing_of_a_path(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=6), st.sampled_from(["cam", "10.0.0.7:554", "[::1]"]))
def test_redact_never_shows_a_password(user: str, password: str, host: str) -> None:
    allowed = {f"rtsp://***@{host}/live?***", "rtsp://***"}
    assert redact(f"rtsp://{user}:{password}@{host}/live?token={password}") in allowed


def test_scheme_is_empty_for_paths() -> None:
    assert {scheme(uri) for uri in ("a.mp4", "C:\\a.mp4", "/x://y", "")} == {""}
    assert [scheme(uri) for uri in ("RTSP://host", "test://")] == ["rtsp", "test"]


def test_a_user_without_a_home_has_no_such_folder(homeless):
    assert expand_home("~/holiday.mp4") == "~/holiday.mp4"
