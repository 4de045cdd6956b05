"""Work on a stream that is the same for every frame."""

from __future__ import annotations

from collections.abc import Callable

from solo_rt.gpu.cuda import Gpu, Stream

Work = Callable[[], None]


def _nothing() -> None: ...


class Replay:
    """Queues the same work again and again, from the third time on as a graph where the CUDA package has graphs.

    The first time shows whether there is a second one at all, and allocates what TensorRT and PyTorch allocate when
    they first see a shape, which a graph cannot hold. The graph is recorded right after the second, by the thread that
    did it, because PyTorch remembers the algorithms of cuDNN per thread. The work is always on the same memory.
    """

    def __init__(self, gpu: Gpu, stream: Stream, work: Callable[[], None]) -> None:
        self._gpu, self._stream, self._work = gpu, stream, work
        self._ran = False
        self._graph: Callable[[], None] | None = None

    def run(self, first: Work = _nothing, last: Work = _nothing) -> None:
        """Do the work and wait for its end. `first` and `last` queue what is around it and may differ.

        Raises: EngineError.
        """
        first()
        (self._graph or self._work)()
        last()
        self._stream.synchronize()
        if self._ran and self._gpu.has_graphs and self._graph is None:
            self._graph = self._gpu.capture(self._stream, self._work)
        self._ran = True
