"""A source that runs elsewhere as viewers see it: its figures, and no pictures."""

from __future__ import annotations

from collections.abc import Mapping

from solo_rt.serve.view import State, View


class FarView(View):
    """See `View`. Whoever hears of the source tells; frames do not travel, so that there are no pictures."""

    _told: Mapping[str, object] = {}  # replaced, never changed

    def tell(self, state: State, reason: str, figures: Mapping[str, object]) -> None:
        """Take how the source is: `figures` as in `record`, as far as they are known."""
        is_new = self.record()["state"] != state
        with self._lock:
            self._told = figures
        if is_new:
            self._become(state, reason)
        with self._lock:
            self._reason = reason

    @property
    def is_well(self) -> bool:
        with self._lock:
            return self._state in ("live", "running", "ended", "connecting")

    def record(self) -> dict[str, object]:
        """Return all that is shown as plain JSON values; times in milliseconds."""
        record = super().record()
        with self._lock:
            return {**record, **self._told}
