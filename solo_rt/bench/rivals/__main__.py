"""The process of one rival: `python -m solo_rt.bench.rivals NAME`.

A task comes on standard input, one line of JSON, then a line for each lap with its number of frames. The answers are
lines on standard output; what the rival itself prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from solo_rt.bench.rivals import Task, open_play


def main() -> None:
    """Play until standard input ends, or until the rival fails."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def answer(**values: Any) -> None:
            answers.write(json.dumps(values) + "\n")
            answers.flush()

        try:
            play = open_play(sys.argv[1], Task(**json.loads(sys.stdin.readline())))
            answer(ready=True)
            for line in sys.stdin:
                started = time.perf_counter()
                played = play(json.loads(line)["frames"])
                answer(frames=played.frames, objects=played.objects, seconds=time.perf_counter() - started)
        except Exception as error:
            answer(error=" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    main()
