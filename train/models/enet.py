"""ENet (Paszke et al. 2016): a third of a million parameters, bottlenecks all the way, learnt from nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.train.models.parts.batch_norm import norm_act
from solo_rt.train.models.parts.convolution import Layers, conv_norm
from solo_rt.train.models.parts.prelu import Prelu
from solo_rt.train.models.parts.unpooling import max_pool_places, max_unpool
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput, require_divisible

STAGE = ("plain", "dilated 2", "asymmetric", "dilated 4", "plain", "dilated 8", "asymmetric", "dilated 16")


def _unit(channels: int, out: int, kernel: int = 1, *, dilation: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and a PReLU with one slope; a kernel of 2 halves the size."""
    halving = kernel == 2
    layers = conv_norm(
        channels,
        out,
        kernel,
        stride=2 if halving else 1,
        padding=0 if halving else None,
        dilation=dilation,
        relu=None,
    )
    return Layers(*layers, Prelu())


class Residual(nn.Module):
    """What stays the same, plus a branch: 1x1 down to a quarter, something wide, 1x1 up (figure 2b)."""

    def __init__(self, channels: int, kind: str, *, dropout: float) -> None:
        super().__init__()
        inner = channels // 4
        if kind == "asymmetric":
            wide: nn.Sequential = Layers(
                nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False),
                nn.Conv2d(inner, inner, (1, 5), padding=(0, 2), bias=False),
                nn.BatchNorm2d(inner),
                Prelu(),
            )
        else:
            dilation = int(kind.removeprefix("dilated ")) if kind != "plain" else 1
            wide = _unit(inner, inner, 3, dilation=dilation)
        self.branch = nn.Sequential(
            _unit(channels, inner), wide, conv_norm(inner, channels, relu=None), nn.Dropout2d(dropout)
        )
        self.act = Prelu()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x + self.branch(x))
        return y


class Down(nn.Module):
    """Half the size: a max-pool, whose places are returned, and a branch that starts with a 2x2 of stride 2."""

    def __init__(self, channels: int, out: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.main = conv_norm(channels, out, relu=None)
        self.branch = nn.Sequential(
            _unit(channels, inner, 2),
            _unit(inner, inner, 3),
            conv_norm(inner, out, relu=None),
            nn.Dropout2d(dropout),
        )
        self.act = Prelu()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled, places = max_pool_places(x, learning=self.training)
        return self.act(self.main(pooled) + self.branch(x)), places


class Up(nn.Module):
    """Twice the size: values back where the matching pool took them from, and a branch with a transposed 2x2."""

    def __init__(self, channels: int, out: int, inner: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.main = conv_norm(channels, out, relu=None)
        self.branch = Layers(
            _unit(channels, inner),
            nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False),
            nn.BatchNorm2d(inner),
            Prelu(),
            conv_norm(inner, out, relu=None),
            nn.Dropout2d(dropout),
        )
        self.act = Prelu()

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        y: Tensor = self.act(self.branch(x) + max_unpool(self.main(x), places, learning=self.training))
        return y


class ENet(SemanticNetwork):
    """See `SemanticNetwork`. There are no auxiliary classifiers."""

    size_divisor = 8

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.first = nn.Conv2d(3, 13, 3, 2, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(16)
        self.act = Prelu()
        self.down1 = Down(16, 64, 16, dropout=0.01)
        self.stage1 = nn.Sequential(*(Residual(64, "plain", dropout=0.01) for _ in range(4)))
        self.down2 = Down(64, 128, 32, dropout=0.1)
        self.stage2 = nn.Sequential(*(Residual(128, kind, dropout=0.1) for kind in STAGE))
        self.stage3 = nn.Sequential(*(Residual(128, kind, dropout=0.1) for kind in STAGE))
        self.up4 = Up(128, 64, 16)
        self.stage4 = nn.Sequential(*(Residual(64, "plain", dropout=0.1) for _ in range(2)))
        self.up5 = Up(64, 16, 4)
        self.stage5 = Residual(16, "plain", dropout=0.1)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2, bias=False)

    def forward(self, images: Tensor) -> SemanticOutput:
        require_divisible(images, self.size_divisor)
        x = torch.cat([self.first(images), self.pool(images)], dim=1)
        x = norm_act(self.norm, self.act, x)  # [B, 16, H/2, W/2]
        x, places1 = self.down1(x)
        x, places2 = self.down2(self.stage1(x))  # [B, 64, H/4, W/4] becomes [B, 128, H/8, W/8]
        x = self.stage3(self.stage2(x))
        x = self.stage4(self.up4(x, places2))  # [B, 64, H/4, W/4]
        x = self.stage5(self.up5(x, places1))  # [B, 16, H/2, W/2]
        return SemanticOutput(self.classifier(x))


BUILDERS = {"enet": ENet}
