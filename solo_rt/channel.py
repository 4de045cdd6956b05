"""`Channel`, the bounded queue between two stages of the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The channel takes no more items, or has none left to give. Ends a stage; never leaves the pipeline."""


class Channel(Generic[T]):
    """A bounded first-in, first-out queue for one producer and one consumer that either side can close.

    A full channel makes its producer wait (`freshest=False`, no item is ever lost) or drops its oldest item
    (`freshest=True`, the consumer always gets the newest there is). One lock guards all state.
    """

    def __init__(self, depth: int, *, freshest: bool = False) -> None:
        if depth < 1:
            raise ValueError(f"channel depth must be at least 1, got {depth}")
        self._depth = depth
        self._freshest = freshest
        self._items: deque[T] = deque()
        self._closed = False
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def put(self, item: T) -> int:
        """Append an item and return how many older ones were dropped for it. Raises: Closed."""
        with self._not_full:
            if not self._freshest:
                self._not_full.wait_for(self._has_room_or_closed)
            if self._closed:
                raise Closed
            dropped = 0
            while len(self._items) >= self._depth:
                self._items.popleft()
                dropped += 1
            self._items.append(item)
            self._not_empty.notify()
            return dropped

    def wait_for_room(self) -> None:
        """Return once an item can be put without waiting. Raises: Closed."""
        with self._not_full:
            self._not_full.wait_for(self._has_room_or_closed)
            if self._closed:
                raise Closed

    def get(self, timeout: float | None = None) -> T:
        """Return the oldest item. Raises: TimeoutError after `timeout` seconds; Closed when closed and empty."""
        with self._not_empty:
            if not self._not_empty.wait_for(lambda: self._items or self._closed, timeout):
                raise TimeoutError
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._not_full.notify()
            return item

    def close(self) -> None:
        """Take no more items; the consumer still gets those already inside."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def cancel(self) -> None:
        """Close and throw away what is inside."""
        self.close()
        with self._not_empty:
            self._items.clear()

    def _has_room_or_closed(self) -> bool:
        return self._closed or len(self._items) < self._depth
