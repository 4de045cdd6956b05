"""Adaptive average pooling as matrix products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from gpus import HostTensors

from solo_rt.train.models.parts.pooling import adaptive_average, picture_mean


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (4, 5), (6, 12), (15, 20), (33, 64)])
def test_matrices_average_what_the_framework_averages(bins: int, size: tuple[int, int]) -> None:
    """Also where there are fewer pixels than bins, which then overlap."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(adaptive_average(x, bins), F.adaptive_avg_pool2d(x, bins), rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_framework() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 7, 9, requires_grad=True), torch.randn(1, 2, 3, 3)
    found, expected = (
        torch.autograd.grad((pool(x, 3) * weight).sum(), x)[0] for pool in (adaptive_average, F.adaptive_avg_pool2d)
    )
    torch.testing.assert_close(found, expected)


def test_a_device_is_given_its_matrices_once() -> None:
    """As a CUDA graph cannot hold copies from the host; with a device that only has shapes."""
    x = torch.zeros(2, 3, 13, 17, device="meta")
    with HostTensors() as first:
        adaptive_average(x, 3)
    with HostTensors() as then:
        assert adaptive_average(x, 3).shape == (2, 3, 3, 3)
    assert first.count > then.count == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_of_a_picture_and_its_gradient_are_the_framework_s(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 7, 9).to(dtype, memory_format=torch.channels_last).requires_grad_()
    found, expected = picture_mean(x), x.mean((2, 3), keepdim=True)
    assert torch.equal(found, expected)
    weight = torch.randn(2, 5, 1, 1).to(dtype)
    gradients = [torch.autograd.grad((mean * weight + x * x).sum(), x)[0] for mean in (found, expected)]
    assert torch.equal(*gradients)
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)


def test_what_a_device_was_given_while_evaluating_serves_training() -> None:
    x = torch.zeros(2, 3, 13, 19, device="meta", requires_grad=True)
    with torch.inference_mode():
        adaptive_average(x, 3)
    adaptive_average(x, 3).sum().backward()
    assert x.grad is not None
