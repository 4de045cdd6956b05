"""The live page of a run: annotated pictures, figures, counts and events in a browser, and an API beside it.

    from solo_rt.serve import Site

    with Site("127.0.0.1:8088") as site:
        Pipeline("rtsp://...", hooks=site.hooks("door")).run()

    run -> hooks -> View -> record -> /api/state, /api/events, /metrics
                         -> Pictures -> Watcher, Motion JPEG, one JPEG

The run's thread puts the newest result into the `View` of its source and goes on. All else is on the loop of the
`Site` and its threads, where `Guard` sees every request before `Desk` does. A viewer asks for the next picture when it
has taken the last one, so that nothing queues up for those who are slow, and nothing is made where nobody asks.
"""

from __future__ import annotations

from solo_rt.errors import UsageError

try:
    from solo_rt.serve.site import Site
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "websockets", "anyio", "h11"):
        raise
    raise UsageError("a page needs starlette, uvicorn and websockets; pip install 'solo-rt[serve]'") from error

__all__ = ["Site"]
