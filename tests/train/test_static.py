"""Static graphs compute what the networks they come from compute, whatever the kind of network."""

from __future__ import annotations

import pytest
import torch
from small import CONFIGS, make_small
from torch import nn

from solo_rt.spec import Provenance
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import StaticGraph
from solo_rt.train.export.solov2 import solov2_graph

SIZE = (64, 96)
CLASSES = ("a", "b", "c")
KINDS = ("solov2", "solov2-dcn")


def make_graph(kind: str, *, batch: int = 1) -> StaticGraph:
    model = make_small(kind, trained=True)
    return solov2_graph(model, kind, CLASSES, Provenance(), imgsz=SIZE, batch=batch)


@pytest.mark.parametrize("kind", KINDS)
def test_the_static_graph_computes_the_same(kind: str) -> None:
    graph = make_graph(kind, batch=2)
    image = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        expected, decided = graph.expected(image), graph.decided(image)
        found = dict(zip(graph.outputs, graph.module(image), strict=True))
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    for name, shape in graph.spec.output_shapes.items():
        assert all(b in (-1, a) for a, b in zip(shapes[name], shape, strict=True)), name
        assert expected[name].abs().max() > 0.1
        sure = decided.get(name, torch.ones_like(expected[name], dtype=torch.bool))
        assert sure.float().mean() > 0.9
        torch.testing.assert_close(found[name][sure], expected[name][sure], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_no_batch_norm_is_left(kind: str) -> None:
    folded = fold_batch_norms(make_small(kind, trained=True))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
