"""A checkpoint as an engine of the run time, at any network size: to measure a network before it is exported.

Everything is float32 without TF32 and by algorithms that give the same again, on whichever device: what evaluations and
validations report is the network, neither a precision nor a card. `engine.fast` is for speed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from solo_rt.denormals import flushed_denormals
from solo_rt.device import Device
from solo_rt.engine.threads import describe
from solo_rt.errors import EngineError
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint
from solo_rt.train.export import static_graph
from solo_rt.train.export.semantic import OutputKind
from solo_rt.train.models import published_scale
from solo_rt.types import Output

Float32 = NDArray[np.float32]
_cudnn = threading.Lock()  # held by the engine whose settings cuDNN has, which are those of the process


@contextmanager
def cudnn_set(*, exact: bool) -> Iterator[None]:
    """Let cuDNN give the same again in float32, or else be fast, for the body alone: other engines wait for its end."""
    with (
        _cudnn,
        torch.backends.cudnn.flags(enabled=True, benchmark=not exact, deterministic=exact, allow_tf32=not exact),
    ):
        yield


class CheckpointEngine:
    """Computes in PyTorch what an exported file would compute; see `solo_rt.engine.Engine`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        imgsz: tuple[int, int] | None,
        device: torch.device,
        output_kind: OutputKind | None = None,
    ) -> None:
        graph = static_graph(checkpoint, imgsz=imgsz, output_kind=output_kind)
        self.spec = graph.spec
        self.backend = f"torch {describe(torch.get_num_threads(), 1) if device.type == 'cpu' else device}"
        self.lanes = 1
        self._checkpoint, self._device, self._outputs = checkpoint, device, graph.outputs
        self._output_kind = output_kind
        self._module: torch.nn.Module | None = graph.module.to(device)

    @property
    def test_scale(self) -> tuple[int, int]:
        """The most pixels of the long and of the short side of a picture, where a network of instances is measured."""
        size = (self.spec.input.height, self.spec.input.width)
        return self._checkpoint.test_scale or published_scale(self._checkpoint.model, size)

    def resized(self, imgsz: tuple[int, int]) -> CheckpointEngine:
        """Return an engine for another network size. Raises: SpecError."""
        return CheckpointEngine(self._checkpoint, imgsz=imgsz, device=self._device, output_kind=self._output_kind)

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name. Raises: EngineError."""
        if self._module is None:
            raise EngineError("the engine is closed; open another one")
        with torch.inference_mode(), cudnn_set(exact=True), flushed_denormals():
            found = self._module(torch.from_numpy(inputs[self.spec.input.name]).to(self._device))
        tensors = found if isinstance(found, tuple) else (found,)
        return {name: tensor.cpu().numpy() for name, tensor in zip(self._outputs, tensors, strict=True)}

    def cancel(self) -> None:
        """Do nothing: PyTorch finishes what it has begun."""

    def close(self) -> None:
        """Release the network; `infer` raises EngineError afterwards."""
        self._module = None


@flushed_denormals()  # by PyTorch's threads too, which loading may start
def open_checkpoint(
    path: Path, *, device: Device, imgsz: tuple[int, int] | None = None, output_kind: OutputKind | None = None
) -> CheckpointEngine:
    """Return an engine for the checkpoint at `path`, by default at the model's own size.

    `output_kind` is what a semantic network gives, labels unless given.
    Raises: UsageError, EngineError when the device cannot be used.
    """
    found = find_device(device)
    return CheckpointEngine(load_checkpoint(path), imgsz=imgsz, device=found, output_kind=output_kind)


def find_device(device: Device) -> torch.device:
    """Return the device for PyTorch; auto is the GPU where there is one. Raises: EngineError when it cannot be used."""
    if device.kind == "auto":
        device = Device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=str(device))
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise EngineError(f"device {device}: PyTorch cannot use it ({str(error).splitlines()[0]}); use cpu") from error
    return torch.device(str(device))
