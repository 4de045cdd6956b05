"""Deformable convolution: every tap of the kernel reads where an offset, predicted from the input, sends it.

Plain (Dai et al., ICCV 2017) or modulated, where each tap also has a weight in 0..1 (Zhu et al., CVPR 2019). Composed
of standard operations, so that it needs no compiled extension and its gradient comes for free; layouts are those of
`torchvision.ops.deform_conv2d` and of ONNX `DeformConv`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_rt.train.models.parts.conv import Conv2d


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """Return the deformable convolution `[B, out, h, w]` of `x [B, C, H, W]`.

    weight `[out, C / groups, k, k]`; offset `[B, 2 * k * k, h, w]` in pixels of `x`: dy, then dx of the first tap, of
    the second tap and so on, taps row-major; mask `[B, k * k, h, w]`. Between pixels values are bilinear, outside of
    `x` they are 0. Needs memory for k * k times the input. `x` is read in float32 at least: in float16, positions would
    be off by tenths of a pixel.
    """
    b, channels, height, width = x.shape
    k = weight.shape[-1]
    h, w = offset.shape[-2:]
    exact = torch.promote_types(x.dtype, torch.float32)
    along = torch.arange(max(h, w), device=x.device, dtype=exact) * stride - padding
    taps = torch.arange(k, device=x.device, dtype=exact)
    rows = (taps[:, None] + along[:h]).repeat_interleave(k, 0)  # [k * k, h]
    columns = (taps[:, None] + along[:w]).repeat(k, 1)  # [k * k, w]
    dy, dx = offset.to(exact).reshape(b, k * k, 2, h, w).unbind(2)
    ys, xs = dy + rows[:, :, None], dx + columns[:, None, :]  # [B, k * k, h, w]
    # grid_sample counts from the outer edges of the first and last pixel, -1 and 1.
    grid = torch.stack([(2 * xs + 1) / width - 1, (2 * ys + 1) / height - 1], dim=-1)
    read = F.grid_sample(x.to(exact), grid.reshape(b, k * k * h, w, 2), align_corners=False)  # zeros outside
    read = read.to(x.dtype).reshape(b, channels, k * k, h, w)
    if mask is not None:
        read = read * mask[:, None].to(read.dtype)
    flat = weight.flatten(1)[:, :, None, None]  # [out, C / groups * k * k, 1, 1]
    return F.conv2d(read.reshape(b, channels * k * k, h, w), flat, bias, groups=groups)


class DeformConv2d(nn.Module):
    """A convolution that predicts its own offsets; new, it is a plain one whose modulation, if any, is 1/2."""

    bias: Tensor | None  # there is one only when a normalisation has been folded in

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, modulated: bool
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.groups = kernel, stride, kernel // 2, groups
        self.modulated = modulated
        self.weight = nn.Parameter(torch.empty(out, channels // groups, kernel, kernel))
        self.register_parameter("bias", None)
        self.conv_offset = nn.Conv2d(channels, (3 if modulated else 2) * kernel**2, kernel, stride, kernel // 2)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """Let every tap read where it would in a plain convolution."""
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        offset, mask = self.predict(x)
        return deform_conv2d(
            x,
            offset,
            self.weight,
            mask=mask,
            bias=self.bias,  # type: ignore[arg-type]
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return offsets `[B, 2 * k * k, h, w]` and, if modulated, the weights of the taps `[B, k * k, h, w]`."""
        predicted = self.conv_offset(x)
        if not self.modulated:
            return predicted, None
        offset, logits = predicted.split([2 * self.kernel**2, self.kernel**2], dim=1)
        return offset, logits.sigmoid()


def make_conv(
    channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, deform: str | None = None
) -> nn.Conv2d | DeformConv2d:
    """Return a convolution without bias that keeps the size up to the stride; `deform` is None, "v1" or "v2"."""
    if deform is None:
        return Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return DeformConv2d(channels, out, kernel, stride=stride, groups=groups, modulated=deform == "v2")
