"""DeepLabv3 (Chen et al. 2017): a pyramid of dilations on a dilated ResNet."""

from __future__ import annotations

from torch import nn

from solo_rt.train.models.dilated_network import torchvision_variants, variants
from solo_rt.train.models.parts.aspp import WIDTH, Aspp
from solo_rt.train.models.parts.convolution import pixel_classifier

DILATIONS = (12, 24, 36)  # at stride 8


def head(channels: int, num_classes: int) -> nn.Sequential:
    """Return the pyramid of dilations and a classifier on it."""
    return nn.Sequential(Aspp(channels, DILATIONS), pixel_classifier(WIDTH, WIDTH, num_classes))


BUILDERS = {**variants("deeplabv3", head), **torchvision_variants("deeplabv3", head)}
