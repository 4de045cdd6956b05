"""Batch normalisation by our kernel against PyTorch's, in a layer that learns."""

from __future__ import annotations

import copy

import pytest
import torch
from learning import learn
from torch import Tensor, nn

from solo_rt.train.models.parts import batch_norm as batch_norm_module
from solo_rt.train.models.parts import prelu as prelu_module
from solo_rt.train.models.parts.batch_norm import is_learning, norm_act
from solo_rt.train.models.parts.convolution import Layers, conv_norm, conv_prelu
from solo_rt.train.models.parts.prelu import Prelu


def pictures(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return (torch.randn(shape) * 2 + 1).contiguous(memory_format=torch.channels_last)


def layer(relu: type[nn.Module] | None = nn.ReLU) -> nn.Sequential:
    """Return a layer from 6 to 9 channels that has learnt a little."""
    torch.manual_seed(1)
    made = conv_prelu(6, 9, 3, stride=2) if relu is nn.PReLU else conv_norm(6, 9, 3, stride=2, relu=relu)
    made.to(memory_format=torch.channels_last)
    with torch.no_grad():
        made[1].weight.uniform_(-2, 2)
        made[1].bias.normal_()
    return made


def by_pytorch(made: nn.Sequential) -> nn.Sequential:
    """Return a copy of the layer that PyTorch computes as three layers."""
    copied = copy.deepcopy(made)
    copied.forward = lambda x: nn.Sequential.forward(copied, x)  # type: ignore[method-assign]
    return copied


@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6, nn.PReLU, None])
@pytest.mark.parametrize("shape", [(3, 6, 16, 20), (1, 6, 7, 5), (1, 6, 3, 3)])
def test_a_layer_learns_as_pytorch_would(shape: tuple[int, ...], relu: type[nn.Module] | None) -> None:
    made = layer(relu)
    slow, x = by_pytorch(made), pictures(*shape)
    for _ in range(2):  # so that running statistics are moved from where they were
        for found, expected in zip(learn(made, x), learn(slow, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert made[1].num_batches_tracked == 2


@pytest.mark.parametrize("act", [None, nn.ReLU(), nn.PReLU(), nn.PReLU(9)], ids=["none", "relu", "one slope", "slopes"])
def test_half_precision_rounds_maps_and_nothing_else(act: nn.ReLU | nn.PReLU | None) -> None:
    norm, x, dy = layer()[1], pictures(4, 9, 30, 34).bfloat16(), pictures(4, 9, 30, 34).bfloat16()
    fast, slow = (nn.Sequential(norm, *([act] if act else [])) for _ in range(2))
    slow = copy.deepcopy(slow).double()
    given, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    y = norm_act(norm, act, given)
    y.backward(dy)
    wanted = slow(exact)
    wanted.backward(dy.double())
    assert given.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(y.double(), wanted, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(given.grad.double(), exact.grad, rtol=2**-8, atol=1e-5)
    gradients = ([p.grad for p in one.parameters()] for one in (fast, slow))
    for found, expected in (*zip(*gradients, strict=True), *zip(fast.buffers(), slow.buffers(), strict=True)):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4, check_dtype=False)


@pytest.mark.parametrize("slopes", [1, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prelu_learns_as_pytorch_would(dtype: torch.dtype, slopes: int) -> None:
    made = Prelu(slopes)
    nn.init.uniform_(made.weight, -0.5, 1.5)
    slow = nn.PReLU(slopes).double()
    slow.load_state_dict(made.state_dict())
    x, dy = pictures(3, 9, 7, 11).to(dtype), pictures(3, 9, 7, 11).to(dtype)
    given, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    y, wanted = made(given), slow(exact)
    y.backward(dy)
    wanted.backward(dy.double())
    assert y.dtype == dtype
    lost = 2**-8 if dtype is torch.bfloat16 else 1e-6
    for found, expected in ((y, wanted), (given.grad, exact.grad)):
        torch.testing.assert_close(found, expected, rtol=lost, atol=0, check_dtype=False)
    torch.testing.assert_close(made.weight.grad, slow.weight.grad, rtol=1e-5, atol=1e-4, check_dtype=False)


def test_a_prelu_asks_the_kernel_while_it_learns_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(prelu_module._native, "prelu", lambda *_: calls.append(1))
    x, made = pictures(2, 6, 8, 8), Prelu()
    for given in (x.contiguous(), x[0], x.double()):
        made.to(given.dtype)(given)
    made.float().eval()(x)
    assert not calls
    made.train()(x)
    assert calls == [1]


def test_the_kernel_is_for_plain_layers_that_learn_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    x, norm = pictures(2, 4, 5, 5), nn.BatchNorm2d(4)
    assert is_learning(norm, x)
    assert is_learning(norm, x.bfloat16())
    assert not is_learning(copy.deepcopy(norm).eval(), x)
    for other in (
        nn.SyncBatchNorm(4),
        nn.GroupNorm(2, 4),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4).double(),
    ):
        assert not is_learning(other, x)
    for given in (x.contiguous(), x.double(), x.half(), x.to("meta"), x[:1, :, :1, :1]):
        assert not is_learning(norm, given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not is_learning(norm, x)


def test_a_layer_asks_the_kernel_while_it_learns_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    native = batch_norm_module._native.batch_norm
    monkeypatch.setattr(batch_norm_module._native, "batch_norm", lambda *args: calls.append(args[4]) or native(*args))
    x = pictures(2, 6, 8, 8)
    for relu, activation in ((nn.ReLU, "relu"), (nn.PReLU, "prelu"), (nn.ReLU6, "none"), (None, "none")):
        made = layer(relu)
        made.eval()(x)
        assert not calls
        made.train()(x)
        assert calls == [activation]
        calls.clear()


def test_layers_are_one_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = (nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.BatchNorm2d(4))
    made = Layers(norms[0], norms[1], nn.ReLU(), nn.Conv2d(6, 4, 1), norms[2], nn.PReLU(), nn.Dropout(0.0))
    slow = by_pytorch(made)
    calls = []
    native = batch_norm_module._native.batch_norm
    monkeypatch.setattr(batch_norm_module._native, "batch_norm", lambda *args: calls.append(args[4]) or native(*args))
    for found, expected in zip(learn(made, x := pictures(2, 6, 8, 8)), learn(slow, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert calls == ["none", "relu", "prelu"]


def test_one_number_per_channel_is_refused_as_pytorch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer()(pictures(1, 6, 1, 1))


def test_a_layer_is_stored_and_measured_as_before() -> None:
    made = layer()
    assert [*made.state_dict()] == [
        "0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"
    ]  # fmt: skip
    learn(made, pictures(2, 6, 8, 8))
    made.eval()
    x = pictures(1, 6, 8, 8)
    assert torch.equal(made(x), by_pytorch(made)(x))
