"""Backbones: torchvision's names, the places of strides, groups and deformable convolutions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from solo_rt.train.models.parts.deform_conv import DeformConv2d
from solo_rt.train.models.parts.resnet import BACKBONES, ResNet, ResNetConfig


def on_meta(config: ResNetConfig) -> ResNet:
    with torch.device("meta"):
        return ResNet(config)


def test_names_and_shapes_are_those_of_torchvision() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(BACKBONES["r50"]).state_dict().items()}
    assert len(shapes) == 318  # 320 of torchvision's resnet50 less fc.weight and fc.bias
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer1.0.downsample.1.running_mean"] == (256,)
    assert shapes["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.bn3.num_batches_tracked"] == ()


@pytest.mark.parametrize(("place", "strided"), [("3x3", "conv2"), ("1x1", "conv1")])
def test_the_stride_sits_where_the_weights_need_it(place: str, strided: str) -> None:
    model = on_meta(replace(BACKBONES["r50"], stride_on=place))
    for stage in (model.layer2, model.layer3, model.layer4):
        strides = {name: getattr(stage[0], name).stride[0] for name in ("conv1", "conv2", "conv3")}
        assert strides == {"conv1": 1, "conv2": 1, "conv3": 1, strided: 2}
    assert [tuple(x.shape[1:]) for x in model(torch.empty(1, 3, 64, 96, device="meta"))] == [
        (256, 16, 24),
        (512, 8, 12),
        (1024, 4, 6),
        (2048, 2, 3),
    ]


@pytest.mark.parametrize("stem", ["classic", "deep"])
def test_the_stem_takes_the_largest_of_3x3_at_every_other_pixel(stem: str) -> None:
    model = ResNet(ResNetConfig("basic", (1, 1, 1, 1), widths=(4, 4, 8, 8), stem=stem)).eval()
    images = torch.randn(1, 3, 33, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = model.bn1(model.conv1(images)).relu()
        windows = F.pad(maps, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2)
        torch.testing.assert_close(model.stem(images), windows.amax((-2, -1)))


def test_resnext_101_64x4d_has_its_published_size() -> None:
    model = on_meta(BACKBONES["x101"])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 81.41  # 83.46 with the classifier
    assert tuple(model.layer1[0].conv2.weight.shape) == (256, 4, 3, 3)


def test_deformable_convolutions_are_the_3x3_of_stages_2_to_4() -> None:
    model = on_meta(replace(BACKBONES["r50"], deform="v2"))
    places = {name for name, module in model.named_modules() if isinstance(module, DeformConv2d)}
    assert places == {
        f"layer{stage}.{block}.conv2" for stage, depth in ((2, 4), (3, 6), (4, 3)) for block in range(depth)
    }
    assert tuple(model.layer2[0].conv2.conv_offset.weight.shape) == (27, 128, 3, 3)


def test_new_offsets_are_zero_and_the_other_weights_are_not() -> None:
    config = ResNetConfig("bottleneck", (1, 1, 1, 1), widths=(4, 4, 8, 8), deform="v1")
    conv = ResNet(config).layer2[0].conv2
    assert not conv.conv_offset.weight.any()
    assert not conv.conv_offset.bias.any()
    assert conv.weight.any()
