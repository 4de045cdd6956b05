"""Pictures for viewers: made only while somebody waits for one, and once for all who want the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from solo_rt.cpu import usable_cores
from solo_rt.result import Result
from solo_rt.serve.look import Look
from solo_rt.serve.picture import make_picture
from solo_rt.serve.view import View

SPACING = 1 / 33  # seconds between two pictures of a reel at least: more than 30 per second are not seen
FILM_SPACING = 1 / 15  # the same of a film, which runs as fast as it is computed, and is not to be held up


@dataclass(frozen=True, slots=True)
class Picture:
    """A compressed picture of a result."""

    number: int  # of the result, from 1
    time_s: float  # of its frame
    data: bytes  # JPEG


class Pictures:
    """Makes pictures on threads of its own. Used on the loop of the page; `close` waits for the threads."""

    def __init__(self) -> None:
        self.made = 0  # so far
        self._reels: dict[tuple[str, Look], Reel] = {}
        threads = max(1, min(4, usable_cores() // 2))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="solo-rt page")

    @contextmanager
    def reel(self, view: View, look: Look) -> Iterator[Reel]:
        """Give the pictures of a source with a look, shared with others who have it."""
        key = view.name, look
        reel = self._reels.setdefault(key, Reel(view, look, self))
        reel.viewers += 1
        try:
            yield reel
        finally:
            reel.viewers -= 1
            if not reel.viewers:
                reel.stop()
                del self._reels[key]

    async def make(self, view: View, result: Result, look: Look) -> bytes:
        """Return a result as JPEG, once a thread has made it."""

        def make() -> bytes:
            started = time.perf_counter()
            data = make_picture(result, look)
            view.note_painting(time.perf_counter() - started)
            return data

        data = await self.run(make)
        self.made += 1
        return data

    async def run(self, function: Callable[[], bytes]) -> bytes:
        """Return what a function returns, called on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


class Reel:
    """The pictures of one source with one look, the newest only."""

    def __init__(self, view: View, look: Look, pictures: Pictures) -> None:
        self.viewers = 0
        self._view, self._look, self._pictures = view, look, pictures
        self._newest: Picture | None = None
        self._making: asyncio.Task[None] | None = None
        self._next_at = 0.0  # by time.monotonic()

    async def newer(self, than: int) -> Picture:
        """Return the newest picture, once its number is higher. Raises: what making it raises."""
        while self._newest is None or self._newest.number <= than:
            if self._making is None:
                self._making = asyncio.get_running_loop().create_task(self._make())
            await asyncio.shield(self._making)  # others wait for it as well
        return self._newest

    def stop(self) -> None:
        """Make no more: nobody is left."""
        if self._making is not None:
            self._making.cancel()

    async def _make(self) -> None:
        try:
            await self._view.newer(self._newest.number if self._newest is not None else 0)
            await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))
            number, result = self._view.newest
            assert result is not None
            self._next_at = time.monotonic() + (SPACING if self._view.is_live else FILM_SPACING)
            data = await self._pictures.make(self._view, result, self._look)
            self._newest = Picture(number, result.frame.time_s, data)
        finally:
            self._making = None
