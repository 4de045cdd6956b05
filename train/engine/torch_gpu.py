"""A GPU whose graphs hold work of PyTorch: it must record them itself, so that what it allocates stays in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from solo_rt.errors import EngineError, SoloRTError
from solo_rt.gpu.cuda import Gpu, Stream, recording


class TorchGpu(Gpu):
    """Device `index`, which PyTorch uses as well; its failures are ours."""

    def __init__(self, library: Path, index: int) -> None:
        """Raises: EngineError, as `Gpu`."""
        self._device = torch.device("cuda", index)
        super().__init__(library, index)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """See `Gpu`."""
        with _translated():
            torch.cuda.set_device(self._device)
            yield

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        """See `Gpu`."""
        cuda, side = torch.cuda, torch.cuda.ExternalStream(stream.handle, self._device)
        graph = cuda.CUDAGraph()
        failure: BaseException | None = None
        # PyTorch waits for the whole device before it records, which fails while another thread does; where it fails to
        # end, it leaves its stream behind, which the outer context puts back, and says less than what failed before.
        try:
            with (
                _translated(),
                recording(),
                cuda.stream(side),
                cuda.graph(graph, stream=side, capture_error_mode="thread_local"),
            ):
                try:
                    with _translated():
                        work()
                except BaseException as error:
                    failure = error
                    raise
        except EngineError:
            if failure is None:
                raise
            raise failure from failure.__cause__

        def launch() -> None:
            with cuda.stream(side):
                graph.replay()

        return launch


@contextmanager
def _translated() -> Iterator[None]:
    """Turn exceptions of PyTorch into EngineError, in one line."""
    try:
        yield
    except SoloRTError:
        raise
    except RuntimeError as error:
        raise EngineError(f"CUDA: {' '.join(str(error).split())}") from error
