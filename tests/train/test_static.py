"""Static graphs compute what the networks they come from compute, whatever the kind of network."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small import CONFIGS, make_small, mask_logits
from torch import nn

from solo_rt.decode.solo import soft_masks
from solo_rt.engine import open_engine
from solo_rt.pipeline import stream
from solo_rt.spec import Provenance
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import StaticGraph, parity
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.solo import solo_graph
from solo_rt.train.export.solov2 import solov2_graph
from solo_rt.train.models.parts.deform_conv import DeformConv2d
from solo_rt.train.models.parts.levels import resize
from solo_rt.train.models.solo import CellHeads
from solo_rt.train.models.solov2 import SoloV2

SIZE = (64, 96)
CLASSES = ("a", "b", "c")


def make_graph(kind: str, *, batch: int = 1) -> StaticGraph:
    model = make_small(kind, trained=True)
    make = solov2_graph if isinstance(model, SoloV2) else solo_graph
    return make(model, kind, CLASSES, Provenance(), imgsz=SIZE, batch=batch)


@pytest.mark.parametrize("kind", list(CONFIGS))
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


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if not kind.startswith("solov2")])
def test_the_run_time_makes_the_masks_of_the_paper(kind: str) -> None:
    graph = make_graph(kind)
    image = torch.randn(1, 3, *SIZE)
    grid = (SIZE[0] // 4, SIZE[1] // 4)
    with torch.inference_mode():
        heads = make_small(kind, trained=True)(image)
        outputs = dict(zip(graph.outputs, (x[0].numpy() for x in graph.module(image)), strict=True))
        if isinstance(heads, CellHeads):
            masks = [resize(x.sigmoid(), grid)[0] for x in mask_logits(heads)]
        else:
            masks = []
            for x, y in zip(heads.x, heads.y, strict=True):
                along_x, along_y = resize(x.sigmoid(), grid)[0], resize(y.sigmoid(), grid)[0]
                masks.append((along_y[:, None] * along_x[None]).flatten(0, 1))
    expected = torch.cat(masks).numpy()  # [cells, h, w]
    found = soft_masks(outputs, graph.spec.decoder, np.arange(len(expected), dtype=np.int32))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_no_batch_norm_is_left(kind: str) -> None:
    folded = fold_batch_norms(make_small(kind, trained=True))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_the_file_computes_the_same(kind: str, tmp_path: Path) -> None:
    graph = make_graph(kind)
    path = tmp_path / "small.onnx"
    write_graph(graph, path)
    errors = parity(graph, path)
    assert set(errors) == set(graph.outputs)
    assert max(errors.values()) < 1e-4
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    deformable = sum(isinstance(module, DeformConv2d) for module in graph.module.modules())
    assert nodes.count("DeformConv") >= deformable
    assert "GridSample" not in nodes
    with closing(open_engine(path, backend="onnxruntime", device="cpu", threads=1)) as engine:
        assert engine.spec == graph.spec
        with closing(stream("test://?size=96x64", model=engine, conf=0.1, max_frames=2)) as results:
            assert [len(result.instances.scores) > 0 for result in results] == [True, True]
