"""The functions that work of many steps calls to say how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]  # steps done, of how many; of 0 where nobody knows
Show = Callable[[int, int, str], None]  # likewise, and what is done; its lines are joined in a log
