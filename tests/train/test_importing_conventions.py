"""What other code bases compute otherwise than we: an import puts it right."""

from __future__ import annotations

from pathlib import Path

import foreign_semantic as foreign
import foreign_zoo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from foreign_semantic import State, as_published, keep_in_memory, numbered, renamed_modules, trained
from torch import Tensor

from solo_rt.train.importing import import_weights
from solo_rt.train.models import build_model
from solo_rt.train.models.dunet import DUpsampling
from solo_rt.train.models.encnet import Encoding
from solo_rt.train.models.ocnet import ContextPyramid

FILE = Path("weights.pth")


def weights_of(module: str, theirs: State, patch: pytest.MonkeyPatch) -> State:
    """Return what the import makes of a part of our network, by the names within that part."""
    keep_in_memory(patch, theirs)
    weights = import_weights(FILE)[0].weights
    return {key.removeprefix(f"{module}."): value for key, value in weights.items() if key.startswith(f"{module}.")}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_pooled_maps_of_leftthomas_come_before_the_map_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = renamed_modules(trained("fast-scnn-leftthomas", 19).state_dict(), foreign.LEFTTHOMAS_FAST_SCNN)
    pyramid = build_model("fast-scnn-leftthomas", 19).eval().deep[-1]
    pyramid.load_state_dict(weights_of("deep.9", theirs, monkeypatch))
    x = noise(1, 128, 7, 9, seed=2)
    prefix = "global_feature_extractor.ppm"

    def conv(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            theirs[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(F.conv2d(x, theirs[f"{name}.conv.weight"]), mean, var, weight, bias).relu()

    pooled = [
        F.interpolate(
            conv(f"{prefix}.stages.{i}.1", F.adaptive_avg_pool2d(x, bins)),
            size=(7, 9),
            mode="bilinear",
            align_corners=True,
        )
        for i, bins in enumerate((1, 2, 3, 6))
    ]
    expected = conv(f"{prefix}.conv", torch.cat([*pooled, x], dim=1))
    with torch.inference_mode():
        torch.testing.assert_close(pyramid(x), expected, rtol=1e-4, atol=1e-5)


def test_deeplab_of_segmentron_has_the_picture_first_and_other_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("deeplabv3-plus-x65", 19, foreign.SEGMENTRON_DEEPLAB)
    picture, *branches = (noise(256, 256, 1, 1, seed=i) for i in range(5))
    theirs["head.aspp.conv.weight"] = torch.cat([picture, *branches], dim=1)
    keep_in_memory(monkeypatch, theirs)
    checkpoint, _ = import_weights(FILE)
    assert torch.equal(checkpoint.weights["aspp.out.0.0.weight"], torch.cat([*branches, picture], dim=1))
    assert (checkpoint.mean, checkpoint.std, checkpoint.imgsz) == ((127.5,) * 3, (127.5,) * 3, (1025, 2049))


def test_tramac_squares_the_factors_of_distances_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("encnet-r50s", 150, foreign_zoo.TRAMAC_ENCNET)
    prefix = "head.encmodule.encoding.3"
    codewords, scale = 0.1 * noise(32, 512, seed=1), -torch.rand(32, generator=torch.Generator().manual_seed(2))
    theirs |= {f"{prefix}.codewords": codewords, f"{prefix}.scale": scale}
    encoding = Encoding(512, 32)
    encoding.load_state_dict(weights_of("encoding.1", theirs, monkeypatch))
    x = 0.1 * noise(1, 512, 3, 4, seed=3)
    differences = x.flatten(2).transpose(1, 2)[:, :, None] - codewords  # [1, N, 32, 512]
    shares = (scale[:, None] * differences).square().sum(3).softmax(2)
    with torch.inference_mode():
        torch.testing.assert_close(encoding(x), (shares[..., None] * differences).sum(1), rtol=1e-3, atol=1e-4)


def test_ocnet_of_tramac_has_the_context_before_the_map_and_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("ocnet-base-r50s", 19, foreign_zoo.TRAMAC_OCNET_BASE)
    prefix = "head.context.3"
    for i, (name, shape) in enumerate(
        {
            "stages.0.f_key.0": (256, 512, 1, 1),
            "stages.0.f_value": (256, 512, 1, 1),
            "stages.0.W": (512, 256, 1, 1),
            "project.0": (512, 1024, 1, 1),
        }.items()
    ):
        theirs[f"{prefix}.{name}.weight"] = 0.05 * noise(*shape, seed=i)
        theirs[f"{prefix}.{name}.bias"] = noise(shape[0], seed=10 + i)
    for i, (name, width) in enumerate({"stages.0.f_key.1": 256, "project.1": 512}.items()):
        theirs |= {
            f"{prefix}.{name}.weight": 1 + 0.1 * noise(width, seed=20 + i),
            f"{prefix}.{name}.bias": noise(width, seed=30 + i),
            f"{prefix}.{name}.running_mean": noise(width, seed=40 + i),
            f"{prefix}.{name}.running_var": 1 + noise(width, seed=50 + i).square(),
        }
    theirs |= {key.replace(".f_key.", ".f_query."): value for key, value in theirs.items() if ".f_key." in key}

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, theirs[f"{prefix}.{name}.weight"], theirs[f"{prefix}.{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        parts = (theirs[f"{prefix}.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts).relu()

    x = noise(1, 512, 3, 4, seed=60)
    key = norm("stages.0.f_key.1", conv("stages.0.f_key.0", x)).flatten(2)
    shares = (key.transpose(1, 2) @ key / 16).softmax(2)
    context = (shares @ conv("stages.0.f_value", x).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (3, 4))
    expected = norm("project.1", conv("project.0", torch.cat([conv("stages.0.W", context), x], dim=1)))
    pyramid = ContextPyramid((1,), 256).eval()
    pyramid.load_state_dict(weights_of("head.1", theirs, monkeypatch))
    with torch.inference_mode():
        torch.testing.assert_close(pyramid(x), expected, rtol=1e-3, atol=1e-3)


def test_dunet_of_tramac_orders_the_pixels_of_a_block_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = as_published("dunet-r50s", 21, foreign_zoo.TRAMAC_DUNET)
    weight = noise(21 * 64, 256, 1, 1, seed=1)
    theirs["dupsample.conv_w.weight"] = weight
    x = noise(1, 256, 2, 3, seed=2)
    coarse = F.conv2d(x, weight).permute(0, 3, 2, 1).reshape(1, 3, 16, 168)  # as there, with width before height
    expected = coarse.permute(0, 2, 1, 3).reshape(1, 16, 24, 21).permute(0, 3, 1, 2)
    upsample = DUpsampling(21)
    upsample.load_state_dict(weights_of("upsample", theirs, monkeypatch))
    with torch.inference_mode():
        torch.testing.assert_close(upsample(x, torch.zeros(1, 3, 16, 24)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "mean", "std"),
    [
        (19, (0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
        (150, (0.4934323, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
        (171, (0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
        (7, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)),
    ],
)
def test_coincheung_normalises_by_data_set(
    classes: int, mean: tuple[float, ...], std: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = renamed_modules(numbered("bisenet-r18-coincheung", classes), foreign.COINCHEUNG_BISENET)
    keep_in_memory(monkeypatch, theirs)
    names = tuple(f"class {i}" for i in range(classes))
    checkpoint, _ = import_weights(FILE, classes=names)
    np.testing.assert_allclose(checkpoint.mean, np.multiply(mean, 255))
    np.testing.assert_allclose(checkpoint.std, np.multiply(std, 255))
