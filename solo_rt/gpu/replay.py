"""Work on a stream that is the same for every frame."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from solo_rt.errors import EngineError
from solo_rt.gpu.cuda import Gpu, Stream

Work = Callable[[], None]
log = logging.getLogger(__name__)


def _nothing() -> None: ...


class Replay:
    """Queues the same work again and again, from the third time on as a graph where it can be recorded as one.

    The first time shows whether there is a second one at all, and allocates what TensorRT and PyTorch allocate when
    they first see a shape, which a graph cannot hold. The graph is recorded right after the second, by the thread that
    did it, because PyTorch remembers the algorithms of cuDNN per thread. What cannot be recorded, such as work on the
    accelerator of a Jetson or layers that wait for the host, is queued every time. The work is always on the same
    memory.
    """

    def __init__(self, gpu: Gpu, stream: Stream, work: Work) -> None:
        self._gpu, self._stream, self._work = gpu, stream, work
        self._times = 0
        self.graph: Work | None = None  # what launches it

    def run(self, first: Work = _nothing, last: Work = _nothing) -> None:
        """Do the work and wait for its end. `first` and `last` queue what is around it and may differ.

        Raises: EngineError.
        """
        try:
            first()
            (self.graph or self._work)()
            last()
        except BaseException:
            with suppress(EngineError):  # of what is queued already, on memory that may soon be another's
                self._stream.synchronize()
            raise
        self._stream.synchronize()
        self._times += 1
        if self._times == 2 and self._gpu.records:
            try:
                self.graph = self._gpu.capture(self._stream, self._work)
            except EngineError as error:
                self._gpu.records = False
                log.warning("work is queued anew for every frame, as it cannot be recorded as a CUDA graph: %s", error)
