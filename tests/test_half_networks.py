"""Networks that sum up over all pixels, in half precision: the same labels as in float32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from half_twin import run_half
from torch import Tensor, nn

from solo_rt.builder import precision
from solo_rt.spec import Provenance
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import semantic_graph
from solo_rt.train.models import build_model, danet, encnet
from solo_rt.train.models.parts.convolution import conv_norm

CLASSES = ("a", "b", "c")
SIZE = (64, 96)
LARGE = 100.0  # standard deviation of all maps: their few pixels then sum up to what many do


class Backbone(nn.Module):
    """Four maps at the strides of a dilated ResNet."""

    out_channels = (4, 8, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *self.out_channels)
        self.stages = nn.ModuleList(
            conv_norm(widths[i], widths[i + 1], 3, stride=s) for i, s in enumerate((4, 2, 1, 1))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return tuple(maps[1:])


@pytest.fixture(scope="module", params=["danet-r50", "encnet-r50"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Return a small form of a network with large maps."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        for module in (danet, encnet):
            patch.setattr(module, "WIDTH", 16)
            patch.setattr(module, "dilated_resnet", lambda name: Backbone())
        model = build_model(request.param, len(CLASSES))
    for name, value in model.named_parameters():
        if name.endswith("strength"):
            nn.init.ones_(value)  # attention starts without an effect
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, of which there is one
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, LARGE)
    with torch.no_grad():
        model.train()(torch.randn(2, 3, *SIZE))
    graph = semantic_graph(model.eval(), "tiny", CLASSES, Provenance(), imgsz=SIZE, batch=1, output="logits")
    path = tmp_path_factory.mktemp("half") / "tiny.onnx"
    write_graph(graph, path)
    return onnx.load(path)


def test_labels_are_those_of_single_precision(exported: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).normal(size=(1, 3, *SIZE)).astype(np.float32)
    session = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (single,) = session.run(None, {"image": image})
    (half,) = run_half(precision.to_half(exported), image)
    tolerance = 3e-3 * np.abs(single).max()
    np.testing.assert_allclose(half, single, rtol=0, atol=tolerance)
    second, first = np.sort(single, axis=1)[:, -2:].swapaxes(0, 1)
    clear = first - second > 2 * tolerance
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(half.argmax(1)[clear], single.argmax(1)[clear])

    monkeypatch.setattr(precision, "_near_large_sums", lambda graph, kinds, weights: set())
    (rounded,) = run_half(precision.to_half(exported), image)
    assert np.isnan(rounded).any(), "the sums were not large"
