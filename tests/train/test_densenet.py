"""DenseNet at stride 8."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.densenet import BACKBONES, DenseLayer, DenseNet, DenseNetConfig


@pytest.mark.parametrize(("name", "parameters"), [("d121", 6_953_856), ("d161", 26_472_000)])
def test_there_are_as_many_parameters_as_in_torchvision(name: str, parameters: int) -> None:
    """Of whose 7,978,856 and 28,681,000 the classifiers have 1,025,000 and 2,209,000."""
    with torch.device("meta"):
        model = DenseNet(BACKBONES[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_tensors_have_the_names_of_torchvision() -> None:
    with torch.device("meta"):
        model = DenseNet(BACKBONES["d121"])
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    assert set(model._modules) == {"features"}
    assert {key: shape for key, shape in shapes.items() if "norm" not in key and "layer" not in key} == {
        "features.conv0.weight": (64, 3, 7, 7),
        "features.transition1.conv.weight": (128, 256, 1, 1),
        "features.transition2.conv.weight": (256, 512, 1, 1),
        "features.transition3.conv.weight": (512, 1024, 1, 1),
    }
    last = "features.denseblock4.denselayer16."
    assert {key.removeprefix(last): shape for key, shape in shapes.items() if key.startswith(last)} == {
        "norm1.weight": (992,),
        "norm1.bias": (992,),
        "conv1.weight": (128, 992, 1, 1),
        "norm2.weight": (128,),
        "norm2.bias": (128,),
        "conv2.weight": (32, 128, 3, 3),
    }
    assert shapes["features.norm0.weight"] == (64,)
    assert shapes["features.transition3.norm.weight"] == shapes["features.norm5.weight"] == (1024,)


def test_later_blocks_are_dilated_and_stride_stays_at_8() -> None:
    with torch.device("meta"):
        model = DenseNet(BACKBONES["d121"])
        assert model(torch.empty(1, 3, 64, 96)).shape == (1, 1024, 8, 12)
    dilations = [
        {layer.conv2.dilation[0] for layer in block if isinstance(layer, DenseLayer)}
        for key, block in model.features.named_children()
        if key.startswith("denseblock") and isinstance(block, nn.Sequential)
    ]
    assert dilations == [{1}, {1}, {2}, {4}]


def test_a_layer_keeps_what_came_before_and_the_last_map_is_not_rectified() -> None:
    torch.manual_seed(0)
    layer = DenseLayer(5, 2).eval()
    x: Tensor = torch.randn(1, 5, 4, 6)
    with torch.no_grad():
        assert torch.equal(layer(x)[:, :5], x)
        assert layer(x).shape == (1, 7, 4, 6)
        model = DenseNet(DenseNetConfig(4, (1, 1, 1, 1), 8))
        assert float(model(torch.randn(2, 3, 32, 32)).min()) < 0
