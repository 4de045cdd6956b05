"""`Channel`, the bounded queue between two stages of the pipeline."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The channel takes no more items, or has none left to give. Ends a stage; never leaves the pipeline.

    `reason` is the failure that ended it, None if nothing failed.
    """

    def __init__(self, reason: BaseException | None = None) -> None:
        super().__init__()
        self.reason = reason


class Channel(Generic[T]):
    """A bounded first-in, first-out queue that either side can close.

    Several producers may work at once: each reserves a place before it starts and fills it when it is done, and items
    come out in the order of their places. A full channel makes its producers wait (`freshest=False`, no item is ever
    lost) or drops its oldest item (`freshest=True`, the consumer always gets the newest there is). With `handover` an
    item keeps its place until the consumer has called `done` for it: with a depth of one, nobody starts to make the
    next item before the last one is dealt with, and no item ever waits inside. One lock guards all state.
    """

    def __init__(self, depth: int, *, freshest: bool = False, handover: bool = False) -> None:
        if depth < 1:
            raise ValueError(f"channel depth must be at least 1, got {depth}")
        self._depth = depth
        self._freshest = freshest
        self._handover = handover
        self._held = 0  # places of items that came out and are not done
        self._items: dict[int, T] = {}  # by place
        self._first = 0  # place of the next item to come out
        self._next = 0  # place to be reserved next
        self._end: int | None = None  # once closed, no item comes out from this place on
        self._reason: BaseException | None = None
        lock = threading.Lock()
        self._ready = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def reserve(self, timeout: float | None = None) -> int:
        """Wait for room and return the number of the place to fill, counted from 0.

        Raises: Closed; TimeoutError after `timeout` seconds.
        """
        with self._not_full:
            if not self._not_full.wait_for(
                lambda: self._end is not None or self._held + self._next - self._first < self._depth, timeout
            ):
                raise TimeoutError
            if self._end is not None:
                raise Closed(self._reason)
            self._next += 1
            return self._next - 1

    def fill(self, place: int, item: T) -> None:
        """Put an item into a reserved place, without waiting; it is lost if the channel was closed before that place.

        Every place must be filled, or closed at: the consumer waits for it.
        """
        with self._ready:
            if self._end is None or place < self._end:
                self._items[place] = item
                self._ready.notify()

    def put(self, item: T) -> int:
        """Append an item and return how many older ones were dropped for it. Raises: Closed."""
        if not self._freshest:
            self.fill(self.reserve(), item)
            return 0
        with self._ready:
            if self._end is not None:
                raise Closed(self._reason)
            dropped = 0
            while self._next - self._first >= self._depth:
                del self._items[self._first]
                self._first += 1
                dropped += 1
            self._items[self._next] = item
            self._next += 1
            self._ready.notify()
            return dropped

    def get(self, timeout: float | None = None) -> T:
        """Return the oldest item. Raises: TimeoutError after `timeout` seconds; Closed when closed and empty."""
        with self._ready:
            self._wait(timeout)
            item = self._items.pop(self._first)
            self._first += 1
            self._held += self._handover
            self._not_full.notify()
            return item

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        with self._ready:
            return self._first == self._end

    def wait(self) -> None:
        """Wait until `get` has an item to return. Raises: Closed when closed and empty."""
        with self._ready:
            self._wait(None)

    def _wait(self, timeout: float | None) -> None:
        if not self._ready.wait_for(lambda: self._first in self._items or self._first == self._end, timeout):
            raise TimeoutError
        if self._first == self._end:
            raise Closed(self._reason)

    def done(self) -> None:
        """Give back the place of an item that came out; without `handover` that has happened already."""
        with self._not_full:
            self._held -= self._handover
            self._not_full.notify()

    def close(self, *, at: int | None = None, reason: BaseException | None = None) -> None:
        """Take no more items; the consumer still gets those before place `at`, by default all there are.

        The lowest place counts if it is called again, and its reason.
        """
        with self._ready:
            at = self._next if at is None else at
            if self._end is None or at < self._end:
                self._end, self._reason = at, reason
            self._ready.notify_all()
            self._not_full.notify_all()

    def cancel(self) -> None:
        """Close and throw away what is inside."""
        with self._ready:
            self._end = self._first
            self._items.clear()
            self._ready.notify_all()
            self._not_full.notify_all()
