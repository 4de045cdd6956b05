"""Holds an engine to the spec of its model: names, sizes and types of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from solo_rt.decoders import SoloDecoder, SoloV2Decoder
from solo_rt.errors import SpecError
from solo_rt.spec import ModelSpec

if TYPE_CHECKING:
    from solo_rt.engine.base import Engine

Shapes = Mapping[str, tuple[int, ...]]  # -1 stands for any size


def check_ports(path: Path, spec: ModelSpec, inputs: Shapes, outputs: Shapes) -> None:
    """Raise SpecError unless the ports a file declares are those of its spec."""
    _compare(f"{path}: inputs", {spec.input.name: (spec.input.batch, 3, spec.input.height, spec.input.width)}, inputs)
    _compare(f"{path}: outputs", spec.output_shapes, outputs)


def try_out(engine: Engine, path: Path) -> None:
    """Compute one empty picture: warms the engine up and proves what the file only declares. Raises: SpecError."""
    spec = engine.spec
    shape = (spec.input.batch, 3, spec.input.height, spec.input.width)
    outputs = engine.infer({spec.input.name: np.zeros(shape, np.float32)})
    _compare(f"{path}: outputs", spec.output_shapes, {name: array.shape for name, array in outputs.items()})
    for name, array in outputs.items():
        expected = spec.decoder.output_type(name)
        if array.dtype != expected:
            raise SpecError(f"{path}: expected {expected} in output {name!r}, got {array.dtype}; export again")
    if isinstance(spec.decoder, SoloV2Decoder | SoloDecoder) and "kernels" in outputs:
        kernels = outputs["kernels"].shape[2]
        for name, channels in spec.decoder.feature_channels(kernels).items():
            if outputs[name].shape[1] != channels:
                raise SpecError(
                    f"{path}: expected {channels} channels in output {name!r} for kernels of {kernels}, "
                    f"got {outputs[name].shape[1]}; export again"
                )


def _compare(what: str, expected: Shapes, got: Shapes) -> None:
    if sorted(expected) != sorted(got):
        raise SpecError(f"{what}: expected {sorted(expected)} from the spec, got {sorted(got)}; export again")
    for name, shape in expected.items():
        found = got[name]
        if len(shape) != len(found) or any(a != b for a, b in zip(shape, found, strict=True) if -1 not in (a, b)):
            raise SpecError(f"{what}: expected {name!r} {list(shape)} from the spec, got {list(found)}; export again")
