"""Training that feels the rounding of INT8: the same convolutions, the same steps, and a checkpoint like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from solo_rt.builder.network import take_decoding
from solo_rt.builder.quantise import quantise, rough
from solo_rt.errors import UsageError
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint
from solo_rt.train.export import export, static_graph
from solo_rt.train.export.fold import fold_batch_norms
from solo_rt.train.export.graph import probe
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.loop import train
from solo_rt.train.models import build_model
from solo_rt.train.models.network import Network
from solo_rt.train.quantised import (
    RoundingConv2d,
    has_signal,
    quantised_convolutions,
    round_convolutions,
    round_values,
    round_weights,
    typical_limit,
)
from solo_rt.train.recipe import Phase, Recipe
from solo_rt.train.settings import Settings

IMGSZ = (64, 96)
ONE = Recipe("solov2-nano", (Phase((32, 64), 2, steps=1),), "adamw", 1e-3, None, 0.01, "weights", "cosine", ema=0.9)
TWO = replace(ONE, phases=(Phase((32, 64), 2, steps=2),))
SETTINGS = Settings("world:", workers=0, save_every=1)
# What the exported graph calls convolutions whose coordinates it turned into constants, and parts it put elsewhere.
MOVED = {
    "model.": "",
    "head.first_kernel_conv.features": "head.kernel_convs.0.0",
    "mask_branch.coord_conv.features": "mask_branch.convs_all_levels.3.0.0",
    "head.head.": "head.",
    "mask_branch.branch.": "mask_branch.",
}


def make(name: str) -> Network:
    """Return a network whose statistics are not a new one's."""
    torch.manual_seed(0)
    model = build_model(name, 3).eval()
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer) * 0.3)
    return model


def name_of(tensor: str) -> str:
    """Return the module of the network that an initialiser of its exported graph is the weight of."""
    for moved, place in MOVED.items():
        tensor = tensor.replace(moved, place) if tensor.startswith(moved) else tensor
    return tensor.removesuffix(".weight")


def fine_convolutions(model: Network, image: np.ndarray) -> set[str]:
    """Return the names of the convolutions that training rounds, of those that ever have an input with signal."""
    found: set[str] = set()
    names = {module: name for name, module in model.named_modules()}
    for conv in quantised_convolutions(model, IMGSZ):

        def note(conv: nn.Module, given: tuple[torch.Tensor]) -> None:
            if has_signal(given[0], typical_limit(given[0])):
                found.add(names[conv])

        conv.register_forward_pre_hook(note)
    with torch.no_grad():
        model(torch.from_numpy(image))
    return found


def tensors_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", ["solov2-nano", "fast-scnn"])
def test_the_same_convolutions_round_to_the_same_weights_as_in_a_quantised_file(tmp_path: Path, name: str) -> None:
    model = make(name)
    graph = static_graph(Checkpoint(name, ("a", "b", "c"), model.state_dict(), 0, {}, {}), imgsz=IMGSZ)
    write_graph(graph, tmp_path / "m.onnx")
    exported = onnx.load(tmp_path / "m.onnx")
    take_decoding(exported)
    image = probe(graph.spec).numpy()
    assert rough(exported, [image])
    stored = tensors_of(quantise(exported, [image]))
    found = {
        name_of(key.removesuffix("_quantized")): stored[key]
        * stored[key.replace("_quantized", "_scale")][:, None, None, None]
        for key in stored
        if key.endswith(".weight_quantized")
    }
    assert fine_convolutions(model, image) == found.keys()
    folded = dict(fold_batch_norms(model).named_modules())
    for place, weights in found.items():
        own = folded[place].weight.detach()[:, : weights.shape[1]]  # the last are of coordinates
        differs = ~np.isclose(round_weights(own), weights, atol=1e-6)
        assert differs.mean() < 1e-3  # ties, which rounding errors of the folding decide


def test_rounding_is_that_of_numpy_and_gradients_pass_inside_the_range() -> None:
    x = torch.linspace(-3, 3, 600).reshape(2, 3, 10, 10).requires_grad_()
    limit = torch.tensor(2.0)
    rounded = round_values(x, limit)
    step = np.float32(2 / 127)
    np.testing.assert_allclose(
        rounded.detach(), np.clip(np.round(x.detach().numpy() / step), -127, 127) * step, atol=1e-6
    )
    rounded.sum().backward()
    assert torch.equal(x.grad, ((x.abs() / step).round() <= 127).float())
    assert torch.equal(round_values(torch.zeros(1, 1), torch.tensor(0.0)), torch.zeros(1, 1))


def test_weights_have_steps_of_their_own_per_channel_and_a_folded_norm_changes_nothing() -> None:
    weight = torch.randn(4, 3, 2, 2, requires_grad=True)
    rounded = round_weights(weight)
    for own, given in zip(rounded.detach().numpy(), weight.detach().numpy(), strict=True):
        step = np.abs(given).max() / 64
        np.testing.assert_allclose(own, np.round(given / step) * step, atol=1e-6)
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))
    factors = torch.tensor([0.01, -3.0, 1.0, 70.0])[:, None, None, None]
    torch.testing.assert_close(round_weights(weight * factors), rounded * factors)


def test_a_range_is_the_mean_of_each_pictures_largest_values() -> None:
    x = torch.tensor([[1.0, -8.0], [3.0, -2.0], [2.0, 1.0]])
    assert typical_limit(x) == pytest.approx(3.0)  # (8 + 2 - 1) / 3
    assert typical_limit(-x) == pytest.approx(3.0)


def test_in_training_mode_alone_a_convolution_and_the_norm_behind_it_round() -> None:
    model = make("fast-scnn")
    image = torch.randn(1, 3, *IMGSZ)
    exact = model(image).out
    round_convolutions(model, IMGSZ)
    assert torch.equal(model(image).out, exact)
    conv, norm = model.fusion.deep
    assert isinstance(conv, RoundingConv2d)
    conv.train()
    x = torch.randn(2, 128, 6, 8)
    found = norm(conv(x))
    plain = nn.functional.conv2d(round_values(x, typical_limit(x)), round_weights(conv.weight))
    normalised = nn.functional.batch_norm(plain, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert torch.equal(found, round_values(normalised, typical_limit(normalised)))


def test_an_input_that_255_steps_are_too_few_for_stays_as_it_is() -> None:
    model = make("fast-scnn")
    round_convolutions(model, IMGSZ)
    conv, _ = model.fusion.deep
    conv.train()
    x = torch.randn(1, 128, 6, 8)
    x[0, 0, 0, 0] = 1000
    assert torch.equal(conv(x), nn.functional.conv2d(x, conv.weight))


def test_a_network_of_which_nothing_is_quantised_is_refused() -> None:
    class Two(Network):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, images: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
            return [(self.last(self.first(images).relu()),)]

    with pytest.raises(UsageError, match="--qat: expected convolutions between"):
        round_convolutions(Two(), IMGSZ)


def test_a_run_is_resumed_to_the_same_bits_and_leaves_an_ordinary_checkpoint(tmp_path: Path) -> None:
    init = train(ONE, tmp_path / "float", SETTINGS).checkpoint
    rounding = replace(SETTINGS, qat=True, init=init, resume="auto")
    whole = load_checkpoint(train(TWO, tmp_path / "whole", rounding).checkpoint)
    train(TWO, tmp_path / "parts", replace(rounding, max_steps=1))
    parts = load_checkpoint(train(TWO, tmp_path / "parts", replace(rounding, init=None)).checkpoint)
    plain = load_checkpoint(train(TWO, tmp_path / "plain", replace(rounding, qat=False)).checkpoint)
    for name, value in whole.weights.items():
        assert torch.equal(parts.weights[name], value)
    assert plain.weights.keys() == whole.weights.keys()
    assert not all(torch.equal(plain.weights[name], value) for name, value in whole.weights.items())
    assert json.loads(whole.training["settings"])["qat"] is True
    before = load_checkpoint(init).weights
    statistics = [name for name in before if name.endswith("running_mean")]
    assert statistics
    assert all(torch.equal(whole.training["weights"][name], before[name]) for name in statistics)
    assert max(export(tmp_path / "whole" / "last.pt", tmp_path / "m.onnx").values()) < 1e-4


def test_it_wants_a_network_to_go_on_from_and_is_not_mixed_with_a_run_without(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--qat goes on from a network"):
        train(ONE, tmp_path / "run", replace(SETTINGS, qat=True))
    train(TWO, tmp_path / "run", replace(SETTINGS, max_steps=1))
    with pytest.raises(UsageError, match="qat was False, is True"):
        train(TWO, tmp_path / "run", replace(SETTINGS, qat=True, resume="auto"))
