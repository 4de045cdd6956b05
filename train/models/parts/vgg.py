"""VGG16 (Simonyan and Zisserman, ICLR 2015) without its classifier, with torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn

from solo_rt.train.models.parts.conv import Conv2d

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and number of 3x3 convolutions, then a pool


class Vgg16(nn.Module):
    """Configuration D, no batch normalisation; `forward` returns pool3, pool4 and pool5, strides 8, 16 and 32."""

    out_channels = (256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in STAGES:
            for _ in range(depth):
                layers += [Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        for module in layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pools = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        _, _, pool3, pool4, pool5 = pools
        return pool3, pool4, pool5
