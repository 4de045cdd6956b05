"""Dilation in place of strides."""

from __future__ import annotations

import pytest
import torch

from solo_rt.train.models.parts.dilated_resnet import dilate, dilated_resnet
from solo_rt.train.models.parts.resnet import ResNet, ResNetConfig


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("stride_on", ["3x3", "1x1"])
@pytest.mark.parametrize("stem", ["classic", "deep"])
def test_dilation_computes_the_maps_of_strides_and_what_lies_between(block: str, stride_on: str, stem: str) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(block, (1, 1, 2, 2), widths=(4, 4, 8, 8), stride_on=stride_on, stem=stem)
    plain = ResNet(config).eval()
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        *_, c4, c5 = plain(images)
        dilate(plain.layer3, plain.layer4)
        *_, fine4, fine5 = plain(images)
    assert fine4.shape[2:] == fine5.shape[2:] == (12, 16)
    torch.testing.assert_close(fine4[:, :, ::2, ::2], c4)
    torch.testing.assert_close(fine5[:, :, ::4, ::4], c5)


@pytest.mark.parametrize(("output_stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))])
def test_maps_have_the_strides_asked_for(output_stride: int, strides: tuple[int, ...]) -> None:
    with torch.device("meta"):
        maps = dilated_resnet("r50", output_stride=output_stride)(torch.empty(1, 3, 64, 96))
    assert [(64 // x.shape[2], 96 // x.shape[3]) for x in maps] == [(stride, stride) for stride in strides]


def test_dilations_are_those_that_published_weights_were_trained_with() -> None:
    """1 then 2 in the third stage, 2 then 4 in the fourth: PyTorch-Encoding's and all that followed it."""
    with torch.device("meta"):
        model = dilated_resnet("r50")
    assert [block.conv2.dilation[0] for block in model.layer3] == [1, 2, 2, 2, 2, 2]
    assert [block.conv2.dilation[0] for block in model.layer4] == [2, 4, 4]


def test_the_deep_stem_has_the_names_of_published_weights() -> None:
    with torch.device("meta"):
        state = dilated_resnet("r101s").state_dict()
    stem = {key: tuple(value.shape) for key, value in state.items() if key.startswith(("conv1", "bn1"))}
    assert {key: shape for key, shape in stem.items() if key.endswith("weight")} == {
        "conv1.0.weight": (64, 3, 3, 3),
        "conv1.1.weight": (64,),
        "conv1.3.weight": (64, 64, 3, 3),
        "conv1.4.weight": (64,),
        "conv1.6.weight": (128, 64, 3, 3),
        "bn1.weight": (128,),
    }
    assert state["layer1.0.conv1.weight"].shape[1] == 128
