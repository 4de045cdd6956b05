"""A source that runs elsewhere as viewers see it: its figures, and no pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from solo_rt.serve.happenings import Happenings
from solo_rt.serve.view import State, View


class FarView(View):
    """See `View`. Whoever hears of the source tells; frames do not travel, so that there are no pictures."""

    has_pictures = False

    def __init__(self, name: str, happenings: Happenings) -> None:
        super().__init__(name, happenings)
        self._told: Mapping[str, object] = {}  # replaced, never changed
        self._ask: Callable[[], str] = lambda: ""

    def tell(
        self, state: State, reason: str, figures: Mapping[str, object], newest: Callable[[], str] = lambda: ""
    ) -> None:
        """Take how the source is: `figures` as in `record`, as far as they are known.

        `newest` asks for its newest result as JSON, empty where there is none; any thread may call it, and wait.
        """
        is_new = self.record()["state"] != state
        with self._lock:
            self._told, self._ask = figures, newest
        if is_new:
            self._become(state, reason)
        with self._lock:
            self._reason = reason

    def newest_record(self) -> str:
        with self._lock:
            ask = self._ask
        return ask()

    def record(self) -> dict[str, object]:
        """Return all that is shown as plain JSON values; times in milliseconds."""
        record = super().record()
        with self._lock:
            return {**record, **self._told}
