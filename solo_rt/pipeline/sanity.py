"""What a network gives that no trained one gives."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from solo_rt.types import Found, Instances, Output

SAMPLE = 1 << 15  # numbers of an output that are looked at: 20 microseconds

log = logging.getLogger(__name__)


class Sanity:
    """Looks at what a network gives, and says once per run what is wrong with it."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._said: set[str] = set()

    def check(self, outputs: Mapping[str, Output]) -> None:
        """Look at a sample of each output for values that are no finite numbers."""
        for name, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values.ravel()[:: max(1, values.size // SAMPLE)]).all():
                self._say(name, f"output {name} holds NaN or infinite numbers")

    def scored(self, found: Found) -> Found:
        """Return what was found with scores of at most 1."""
        if not isinstance(found, Instances) or not len(found) or found.scores.max() <= 1:
            return found
        self._say("score", f"a score is {found.scores.max():g}; it is taken for 1")
        return replace(found, scores=np.minimum(found.scores, np.float32(1)))

    def _say(self, about: str, what: str) -> None:
        if about not in self._said:
            self._said.add(about)
            log.warning("model %s: %s; its weights are broken, or it was not exported by solo-rt", self._model, what)
