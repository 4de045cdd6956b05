"""Cross entropy by our kernel against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.train.losses import cross_entropy as cross_entropy_module
from solo_rt.train.losses.cross_entropy import cross_entropy

LAYOUTS = {"pixels": torch.channels_last, "planes": torch.contiguous_format}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def batch(classes: int = 11) -> tuple[Tensor, Tensor]:
    """Return logits and labels, some of which are ignored."""
    torch.manual_seed(0)
    labels = torch.randint(0, classes, (2, 30, 34), dtype=torch.uint8)
    labels[torch.rand(labels.shape) < 0.2] = 255
    return 5 * torch.randn(2, classes, 30, 34), labels


def by_pytorch(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels.long(), ignore_index=255, reduction="none")


def learn(each: Tensor, logits: Tensor) -> Tensor:
    """Return the gradient of the logits from one that differs between pixels."""
    torch.manual_seed(1)
    return torch.autograd.grad((each * torch.randn(each.shape)).sum(), logits)[0]


@every_layout
@pytest.mark.parametrize("classes", [2, 19, 150])
def test_it_is_that_of_pytorch(classes: int, layout: torch.memory_format) -> None:
    logits, labels = batch(classes)
    logits = logits.contiguous(memory_format=layout).requires_grad_()
    (each, right), wanted = cross_entropy(logits, labels), by_pytorch(logits, labels)
    torch.testing.assert_close(each, wanted, rtol=1e-6, atol=2e-6)
    assert torch.equal(right, logits.argmax(1) == labels)
    gradient = learn(each, logits)
    torch.testing.assert_close(gradient, learn(wanted, logits), rtol=1e-5, atol=1e-6)
    assert gradient.is_contiguous(memory_format=layout)


@every_layout
def test_half_precision_rounds_the_gradient_and_nothing_else(layout: torch.memory_format) -> None:
    logits, labels = batch()
    logits = logits.bfloat16().contiguous(memory_format=layout).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    (each, _), wanted = cross_entropy(logits, labels), by_pytorch(exact, labels)
    assert each.dtype == torch.float32
    torch.testing.assert_close(each.double(), wanted, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(learn(each, logits).double(), learn(wanted, exact), rtol=2**-8, atol=1e-6)


def test_labels_may_be_every_second_one() -> None:
    logits, labels = batch()
    sparse = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, ::2, ::2]
    for found, expected in zip(cross_entropy(logits, sparse), cross_entropy(logits, labels), strict=True):
        assert torch.equal(found, expected)


def test_the_kernel_is_asked_for_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    native = cross_entropy_module._native.cross_entropy
    monkeypatch.setattr(cross_entropy_module._native, "cross_entropy", lambda *args: calls.append(1) or native(*args))
    logits, labels = batch()
    expected = cross_entropy(logits, labels)
    assert len(calls) == 1
    for given, its_labels in ((logits.double(), labels), (logits[:, :, ::2], labels[:, ::2])):
        for found, wanted in zip(cross_entropy(given, its_labels), expected, strict=True):
            torch.testing.assert_close(found, wanted[:, :: 30 // given.shape[2]], rtol=1e-6, atol=2e-6)
    assert cross_entropy(logits.to("meta"), labels.to("meta"))[0].is_meta
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    cross_entropy(logits, labels)
    assert len(calls) == 1
