"""The CUDA kernel as a layer of PyTorch, against the layers that it replaces."""

from __future__ import annotations

import pytest
import torch
from gpus import Place, place
from torch import nn

from solo_rt.train.engine.group_norm import DeviceGroupNorm, fuse_group_norms

__all__ = ["place"]


def layers(place: Place) -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Sequential(nn.Identity(), norm, nn.ReLU(inplace=True)).to(place.device)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 12), (24, 40)])
def test_layer_is_the_norm_and_the_relu(
    place: Place, dtype: torch.dtype, memory_format: torch.memory_format, size: tuple[int, int]
) -> None:
    x = (3 + 2 * torch.randn(2, 12, *size)).half().to(place.device, dtype).contiguous(memory_format=memory_format)
    before = x.clone()
    expected, fused = layers(place)(x.float()), layers(place)
    fuse_group_norms(fused, place.library)
    with torch.inference_mode():
        found = fused(x)
    assert found.dtype == torch.float16
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), expected, rtol=2e-3, atol=2e-3)
    assert torch.equal(x, before)


def test_only_norms_with_a_relu_behind_them_are_replaced(place: Place) -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.ReLU()), nn.GroupNorm(2, 4))
    fuse_group_norms(network, place.library)
    assert [type(layer) for layer in network.modules()][1:] == [
        nn.Sequential, nn.Conv2d, DeviceGroupNorm, nn.Identity, nn.GroupNorm,
    ]  # fmt: skip
