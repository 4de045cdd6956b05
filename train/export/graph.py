"""A network ready to be exported at one input size, and the proof that a file computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.spec import ModelSpec
from solo_rt.world import World

TOLERANCE = 1e-4  # of the largest value of a tensor


@dataclass(frozen=True, slots=True)
class StaticGraph:
    """The graph of a trained network for input of exactly `spec.input`'s shape, rewritten where that is cheaper."""

    spec: ModelSpec
    module: nn.Module  # `forward(image)` returns the tensors of `outputs`, in this order
    outputs: tuple[str, ...]
    expected: Callable[[Tensor], Mapping[str, Tensor]]  # the same tensors from the network as it was trained
    decided: Callable[[Tensor], Mapping[str, Tensor]]  # bool, False where a comparison decides narrowly


Arrays = Mapping[str, NDArray[np.generic]]


def parity(
    graph: StaticGraph, path: Path, *, decode: Callable[[Arrays], Arrays] = lambda found: found
) -> dict[str, float]:
    """Return the largest error of each output of the file at `path`, relative to the largest value in PyTorch.

    Values that a comparison decides by less than the tolerance are left out: rounding may decide them either way.
    `decode` makes the outputs of the graph of those of the file, where these are others.
    """
    image = probe(graph.spec)
    with torch.inference_mode():
        expected, decided = graph.expected(image), graph.decided(image)
    heads = read_spec(path).output_shapes
    session = onnxruntime.InferenceSession(heads_alone(path.read_bytes(), heads), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = decode(dict(zip(names, session.run(names, {graph.spec.input.name: image.numpy()}), strict=True)))
    errors = {}
    for name, reference in expected.items():
        difference = np.abs(np.asarray(found[name], np.float64) - reference.double().numpy())
        if name in decided:
            difference = difference[decided[name].numpy()]
        errors[name] = float(difference.max(initial=0.0) / max(float(reference.abs().max()), 1e-12))
    return errors


def probe(spec: ModelSpec) -> Tensor:
    """Return input with structure and with noise: a frame of the procedural world plus a little Gaussian noise."""
    size = spec.input
    scene = World(0, height=size.height, width=size.width).render(50).rgb
    normalised = (scene - np.array(size.mean)) / np.array(size.std)
    noise = np.random.default_rng(0).normal(0, 0.05, (size.batch, *normalised.shape))
    return torch.from_numpy((normalised + noise).astype(np.float32)).permute(0, 3, 1, 2).contiguous()
