"""DANet (Fu et al., CVPR 2019): attention over pixels beside attention over channels, on a dilated ResNet."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from solo_rt.train.models.dilated_network import BACKBONES
from solo_rt.train.models.parts.convolution import conv_norm
from solo_rt.train.models.parts.dilated_resnet import dilated_resnet
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

WIDTH = 512  # of either branch
REDUCTION = 8  # pixels are compared by a fraction of their channels


class PositionAttention(nn.Module):
    """Each pixel plus what all pixels say, most of it said by those like it (section 3.2).

    Every pixel is compared with every other: of N pixels that takes N^2 values, 0.27 GB for a picture of 512x1024.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.key = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (conv(x).flatten(2) for conv in (self.query, self.key, self.value))  # [B, C, N]
        shares = (query.transpose(1, 2) @ key).softmax(2)  # [B, N, N], of the second in the first
        return x + self.strength * (value @ shares.transpose(1, 2)).reshape(x.shape)


class ChannelAttention(nn.Module):
    """Each channel plus a mean of all channels, most of it from those least like it.

    Equation 3 of the paper has the opposite sign; this is the one of its code and of all weights. The code subtracts
    products from the largest one of their row, which no softmax notices. Without that, a product too large for half
    precision has no share at all, where infinity less infinity would leave the row without a value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.flatten(2)  # [B, C, N]
        shares = (-(channels @ channels.transpose(1, 2))).softmax(2)  # [B, C, C], of the second in the first
        return x + self.strength * (shares @ channels).reshape(x.shape)


class DaNet(SemanticNetwork):
    """See `SemanticNetwork`. While training each branch has a classifier of its own, too."""

    aux_weights = (1.0, 1.0)

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = dilated_resnet(backbone)
        *_, c5 = self.backbone.out_channels
        self.branches = nn.ModuleList(
            nn.Sequential(conv_norm(c5, WIDTH, 3), attention, conv_norm(WIDTH, WIDTH, 3))
            for attention in (PositionAttention(WIDTH), ChannelAttention())
        )
        self.classifier, *aux = (nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(WIDTH, num_classes, 1)) for _ in range(3))
        self.aux = nn.ModuleList(aux)

    def forward(self, images: Tensor) -> SemanticOutput:
        *_, c5 = self.backbone(images)  # [B, 2048, H/8, W/8]
        position, channel = (branch(c5) for branch in self.branches)  # [B, 512, H/8, W/8]
        out = self.enlarge(self.classifier(position + channel), images)
        if not self.training:
            return SemanticOutput(out)
        return SemanticOutput(out, (self.aux[0](position), self.aux[1](channel)))


BUILDERS = {f"danet-{backbone}": partial(DaNet, backbone) for backbone in BACKBONES}
