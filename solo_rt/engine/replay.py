"""Work on a stream that is the same for every frame."""

from __future__ import annotations

from collections.abc import Callable

from solo_rt.engine.cuda import Gpu, Stream


class Replay:
    """Queues the same work again and again, from the second time on as a graph where the CUDA package has graphs.

    The first time shows whether there is a second one at all, and allocates what TensorRT and PyTorch allocate when
    they first see a shape, which a graph cannot hold. The work is always on the same memory.
    """

    def __init__(self, gpu: Gpu, stream: Stream, work: Callable[[], None]) -> None:
        self._gpu, self._stream, self._work = gpu, stream, work
        self._ran = False
        self._graph: Callable[[], None] | None = None

    def run(self, first: Callable[[], None] | None = None) -> None:
        """Do the work and wait for its end. `first` queues what comes before it and may differ. Raises: EngineError."""
        if self._ran and self._gpu.has_graphs and self._graph is None:
            self._graph = self._gpu.capture(self._stream, self._work)
        if first is not None:
            first()
        (self._graph or self._work)()
        self._stream.synchronize()
        self._ran = True
