"""Pictures that cannot be used: left out and counted, like bad annotations."""

from __future__ import annotations

import logging

from solo_rt.errors import DatasetError

NAMED = 10  # pictures named one by one without -v

log = logging.getLogger(__name__)


class LeftOut:
    """The pictures of a data set that could not be read, by index; each is named once."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.indices: set[int] = set()

    def add(self, index: int, error: DatasetError) -> None:
        """Leave a picture out. Raises: `error` where `strict`."""
        if self.strict:
            raise error
        if index not in self.indices:
            self.indices.add(index)
            log.log(logging.WARNING if len(self.indices) <= NAMED else logging.INFO, "left out: %s", error)
            if len(self.indices) == NAMED + 1:
                log.warning("left out: more pictures than %d; -v names them", NAMED)

    def report(self, count: int) -> None:
        """Say how many of `count` pictures were left out, if any were."""
        if self.indices:
            log.warning("left out %d of %d pictures, see above", len(self.indices), count)


def require_some(count: int, *, of: int) -> None:
    """Raise DatasetError where `of` some pictures none could be read."""
    if of and not count:
        raise DatasetError(f"none of {of} pictures can be read; is the data set complete?")
