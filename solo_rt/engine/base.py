"""The protocols `Engine` and `FrameEngine`: what every backend is to the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from solo_rt.render import Painting
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame, Output

Float32 = NDArray[np.float32]


class Engine(Protocol):
    """Computes a model. Up to `lanes` threads may call `infer` at once; what it returns does not depend on that."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def lanes(self) -> int: ...

    @property
    def backend(self) -> str:
        """What computes, for people: "onnxruntime cpu, 2 threads"."""
        ...

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller; inputs are neither kept nor written to.

        Raises: EngineError.
        """
        ...

    def cancel(self) -> None:
        """Let what is being computed end soon with an EngineError, where the backend can. For any thread."""
        ...

    def close(self) -> None:
        """Release the model; `infer` raises EngineError afterwards."""
        ...


class GpuTimes(NamedTuple):
    """Where the time of one call of an engine on a GPU went, in seconds."""

    enqueue: float  # of the host, until all work was queued
    device: float  # between the first and the last of the work, copies included, by events on the device
    wait: float  # of the host, for the rest of it


@runtime_checkable
class TimedEngine(Engine, Protocol):
    """An engine on a GPU that can tell where its time goes."""

    def infer_timed(self, inputs: Mapping[str, Float32]) -> tuple[dict[str, Output], GpuTimes]:
        """Return what `infer` returns, and its times. Raises: EngineError."""
        ...


@runtime_checkable
class FrameEngine(Engine, Protocol):
    """An engine on a GPU that takes frames as they are: what comes before the network and after it runs there, too."""

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        """Return the outputs by name as `infer` of the prepared frame, and with `painting` the frame painted.

        That is to the byte what `render` or `render_semantic` without labels makes of the frame, on planes that belong
        to the caller. The frame itself is neither kept nor written to. Painting needs a decoder that `is_painted`.
        Raises: EngineError.
        """
        ...
