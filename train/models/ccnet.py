"""CCNet (Huang et al., ICCV 2019): twice, to each pixel what its row and its column show, on a dilated ResNet.

After the second time everything has reached everything, for a small part of what comparing all pixels costs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_rt.train.models.dilated_network import variants
from solo_rt.train.models.parts.convolution import conv_norm

WIDTH = 512
KEY_WIDTH = 64
RECURRENCE = 2
EXCLUDED = -1e4  # a score whose weight is 0, and which half precision has


def criss_cross(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return means of `value [B, C, H, W]` over the column and the row of each pixel, the pixel itself counted once.

    Weights are the softmax over these H + W - 1 pixels of the products of the query with their keys, `[B, D, H, W]`.
    Differs from the authors' CUDA operator in nothing but how it is computed: as batches of matrix products.
    """
    h = int(value.shape[2])
    q, k, v = (x.permute(0, 2, 3, 1) for x in (query, key, value))  # [B, H, W, channels]
    itself = EXCLUDED * torch.eye(h, dtype=query.dtype, device=query.device)  # the row has it too
    columns = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) + itself  # [B, W, H, H]
    rows = q @ k.transpose(2, 3)  # [B, H, W, W]
    weights = torch.cat([columns.transpose(1, 2), rows], dim=3).softmax(3)  # [B, H, W, H + W]
    from_columns = weights[..., :h].transpose(1, 2) @ v.transpose(1, 2)  # [B, W, H, C]
    from_rows = weights[..., h:] @ v  # [B, H, W, C]
    return (from_columns.transpose(1, 2) + from_rows).permute(0, 3, 1, 2)


class CrissCrossAttention(nn.Module):
    """The map and, scaled by a number that starts at zero, its `criss_cross` means (section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Conv2d(WIDTH, KEY_WIDTH, 1)
        self.key = nn.Conv2d(WIDTH, KEY_WIDTH, 1)
        self.value = nn.Conv2d(WIDTH, WIDTH, 1)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * criss_cross(self.query(x), self.key(x), self.value(x))


class CcHead(nn.Module):
    """The same attention `RECURRENCE` times between two 3x3 convolutions, its output beside its input, the classifier.

    Differs from the authors' code: ReLU in place of leaky ReLU.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.before = conv_norm(channels, WIDTH, 3)
        self.attention = CrissCrossAttention()
        self.after = conv_norm(WIDTH, WIDTH, 3)
        self.classifier = nn.Sequential(
            conv_norm(channels + WIDTH, WIDTH, 3), nn.Dropout2d(0.1), nn.Conv2d(WIDTH, num_classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        context = self.before(x)
        for _ in range(RECURRENCE):
            context = self.attention(context)
        logits: Tensor = self.classifier(torch.cat([x, self.after(context)], dim=1))
        return logits


BUILDERS = variants("ccnet", CcHead)
