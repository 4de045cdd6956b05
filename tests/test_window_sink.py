"""The window, with SDL's driver that shows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import info, result_of, rgb_frame, yuv_frame
from command_line import Solo
from fakes import FakeEngine, FakeSource

from solo_rt.errors import UsageError
from solo_rt.pipeline import opening
from solo_rt.sink import open_sink
from solo_rt.sink.window import fitted

pygame = pytest.importorskip("pygame")


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_frames_are_shown_in_their_proportions() -> None:
    assert [fitted((1920, 1080), (1280, 720)), fitted((64, 48), (100, 48)), fitted((1, 5000), (1280, 720))] == [
        (1280, 720),
        (64, 48),
        (1, 720),
    ]
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = (200, 30, 60)
    with open_sink("window:", info=info()) as sink:
        assert sink.needs_picture
        sink.write(result_of(rgb_frame(picture)))
        screen = pygame.display.get_surface()
        assert screen.get_size() == (960, 720)
        assert [screen.get_at((x, 300))[:3] for x in (100, 900)] == [(0, 0, 0), (200, 30, 60)]
        sink.write(result_of(yuv_frame(1, size=(48, 96))))
        assert screen.get_at((5, 300))[:3] == (0, 0, 0), "beside a picture that is taller"
    assert not pygame.display.get_init()


@pytest.mark.parametrize("key", ["K_q", "K_ESCAPE", None])
def test_whoever_closes_it_ends_the_run(key: str | None) -> None:
    said: list[str] = []
    sink = open_sink("window:", info=info(), on_quit=lambda: said.append("quit"))
    sink.write(result_of(yuv_frame(0)))
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a))
    sink.write(result_of(yuv_frame(1)))
    assert said == []
    event = (
        pygame.event.Event(pygame.QUIT) if key is None else pygame.event.Event(pygame.KEYDOWN, key=getattr(pygame, key))
    )
    pygame.event.post(event)
    sink.write(result_of(yuv_frame(2)))
    sink.write(result_of(yuv_frame(3)))
    assert said == ["quit"]
    assert not pygame.display.get_init()
    sink.close()


def test_without_a_display_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="needs a display, and DISPLAY names none; watch it in a browser with --serve"):
        open_sink("window:", info=info())


def test_without_pygame_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    with pytest.raises(UsageError, match=r"pip install 'solo-rt\[window\]'"):
        open_sink("window:", info=info())


def test_a_run_that_is_closed_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo) -> None:
    def close(index: int) -> None:
        if index == 5 and pygame.display.get_init():
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(opening, "open_engine", lambda path, **_: FakeEngine())
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(10**6, gate=close))
    code, out, _ = solo("run", "--source", "x", "--show", "--sync")
    assert code == 0
    assert "window" not in out
    assert int(out.split()[0]) < 100
