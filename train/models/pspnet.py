"""PSPNet (Zhao et al., CVPR 2017): the pyramid of pooled maps beside the map itself, on a dilated ResNet."""

from __future__ import annotations

from torch import nn

from solo_rt.train.models.dilated_network import variants
from solo_rt.train.models.parts.pooling import PyramidPooling


def head(channels: int, num_classes: int) -> nn.Sequential:
    """Return pyramid pooling, a 3x3 convolution to 512 channels over all of it, and the classifier."""
    return nn.Sequential(PyramidPooling(channels, 512, kernel=3), nn.Dropout(0.1), nn.Conv2d(512, num_classes, 1))


BUILDERS = variants("pspnet", head)
