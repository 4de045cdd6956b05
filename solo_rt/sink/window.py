"""Annotated video in a window, as it is made."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from solo_rt.errors import SinkError, UsageError
from solo_rt.result import Result
from solo_rt.sink.base import Sink, picture_of

URI = "window:"
LARGEST = (1280, 720)  # of the window at first; it can be made larger
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")  # environment variables that name one


class WindowSink(Sink):
    """`window:`, on the thread that writes to it. `close`: see `Sink`.

    Frames keep their proportions, fitted into the window. q, Esc and closing it call `on_quit`, and no more is shown.
    """

    needs_picture = True

    def __init__(self, uri: str, *, title: str, on_quit: Callable[[], None]) -> None:
        """Open no window yet. Raises: UsageError without a display or pygame."""
        if not any(os.environ.get(name) for name in DISPLAYS):
            raise UsageError("a window needs a display, and DISPLAY names none; watch it in a browser with --serve")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise UsageError("a window needs pygame; pip install 'solo-rt[window]'") from error
        self.uri = uri
        self._pygame, self._title, self._on_quit = pygame, title, on_quit
        self._is_open = self._is_over = False

    def write(self, result: Result) -> None:
        """Show one result. Raises: SinkError when there is no window to be had."""
        if self._is_over:
            return
        game = self._pygame
        rgb = np.ascontiguousarray(picture_of(result).rgb())
        size = rgb.shape[1], rgb.shape[0]
        try:
            if not self._is_open:
                game.display.init()
                game.display.set_mode(fitted(size, LARGEST), game.RESIZABLE)
                game.display.set_caption(self._title)
                self._is_open = True
            screen = game.display.get_surface()
            shown = fitted(size, screen.get_size())
            picture = game.transform.scale(game.image.frombuffer(rgb, size, "RGB"), shown)
            screen.fill((0, 0, 0))
            screen.blit(picture, ((screen.get_width() - shown[0]) // 2, (screen.get_height() - shown[1]) // 2))
            game.display.flip()
            events = game.event.get()
        except game.error as error:
            raise SinkError(f"output {self.uri}: {error}") from error
        if any(self._ends(event.type, getattr(event, "key", None)) for event in events):
            self.close()
            self._on_quit()

    def close(self) -> None:
        self._is_over = True
        if self._is_open:
            self._is_open = False
            self._pygame.display.quit()

    def _ends(self, kind: int, key: int | None) -> bool:
        game = self._pygame
        return kind == game.QUIT or (kind == game.KEYDOWN and key in (game.K_q, game.K_ESCAPE))


def fitted(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """Return a size, width and height, as large as fits into another one with the same proportions."""
    scale = min(into[0] / size[0], into[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
