"""Group normalisation and the ReLU behind it by our CUDA kernel, on tensors of PyTorch."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from solo_rt.gpu.kernels import TYPES, GroupNorm, Kernels, Workspace


class DeviceGroupNorm(nn.Module):
    """`forward` maps `[B, C, H, W]` to float16 of the same shape, channels last: normalised, and at least 0.

    Statistics are float32, as autocast would have them, but not the maps: two kernels instead of one each for casts,
    statistics, scaling and ReLU. Convolutions give and take channels last, so that no layout is changed.
    """

    def __init__(self, norm: nn.GroupNorm, library: Kernels) -> None:
        super().__init__()
        self._groups, self._epsilon, self._library = norm.num_groups, norm.eps, library
        self.gamma, self.beta = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        source = x.half().contiguous(memory_format=torch.channels_last)
        target = torch.empty_like(source)
        sizes = GroupNorm(TYPES["float16"], b, c, h * w, self._groups, 1, self._epsilon)
        work = torch.empty(self._library.group_norm_workspace(sizes), dtype=torch.uint8, device=x.device)
        self._library.group_norm(
            sizes,
            source.data_ptr(),
            target.data_ptr(),
            gamma=self.gamma.data_ptr(),
            beta=self.beta.data_ptr(),
            workspace=Workspace(work.data_ptr(), work.nbytes),
            stream=torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0,
        )
        return target


def fuse_group_norms(module: nn.Module, library: Kernels) -> None:
    """Replace every GroupNorm with a ReLU behind it, in place. Its parameters, float32, stay the module's."""
    for parent in module.modules():
        if isinstance(parent, nn.Sequential):
            for i, (norm, relu) in enumerate(itertools.pairwise(list(parent))):
                if isinstance(norm, nn.GroupNorm) and isinstance(relu, nn.ReLU):
                    parent[i], parent[i + 1] = DeviceGroupNorm(norm, library), nn.Identity()
