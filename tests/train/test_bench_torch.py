"""The rival that computes the network in PyTorch computes the same network."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from solo_rt.bench.rivals.torch_graph import TorchGraph
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.errors import SpecError


def content(name):
    path = find_model(name)
    return heads_alone(path.read_bytes(), read_spec(path).output_shapes)


def test_a_graph_in_pytorch_gives_what_onnx_runtime_gives():
    image = np.random.default_rng(0).normal(size=(1, 3, 256, 448)).astype(np.float32)
    session = onnxruntime.InferenceSession(content("solov2-nano"))
    wanted = dict(
        zip(
            ("scores", "kernels", "features"),
            session.run(["scores", "kernels", "features"], {"image": image}),
            strict=True,
        )
    )
    with torch.inference_mode():
        found = TorchGraph(content("solov2-nano")).eval()(torch.from_numpy(image))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name].numpy(), value, atol=2e-3 * np.abs(value).max(), err_msg=name)


def test_a_graph_with_other_operations_is_refused():
    with pytest.raises(SpecError, match="expected a graph of known operations, got MatMul, ReduceMean"):
        TorchGraph(content("fast-scnn"))
