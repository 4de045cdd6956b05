"""SOLOv2 as one first writes it in PyTorch: dense masks, one operation after the other, the host in between.

This is what the fast ways are measured against, after the procedure of the released code; see arXiv 2003.10152.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from solo_rt.bench.rivals.torch_loop import Found, decode, enlarge
from solo_rt.decoders import SoloV2Decoder
from solo_rt.preprocess import Letterbox
from solo_rt.render.palette import PALETTE
from solo_rt.spec import ModelSpec
from solo_rt.train.export.heads import flatten_levels, points_nms
from solo_rt.train.models.solov2 import SoloV2


class EagerLoop:
    """The whole way of a frame: upload, resizing, network under autocast, decoding, painting, download."""

    def __init__(self, model: SoloV2, spec: ModelSpec, device: torch.device) -> None:
        assert isinstance(spec.decoder, SoloV2Decoder)
        self._model = model.to(device, memory_format=torch.channels_last)
        self._spec, self._decoder, self._device = spec, spec.decoder, device
        self._mean, self._std = (
            torch.tensor(x, device=device)[:, None, None] for x in (spec.input.mean, spec.input.std)
        )
        self._palette = torch.tensor(PALETTE, device=device)

    @torch.inference_mode()
    def __call__(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Found]:
        """Return a frame `uint8 [H, W, 3]` painted, and its instances."""
        frame = torch.from_numpy(rgb).to(self._device).permute(2, 0, 1).float()  # [3, H, W]
        to = self._spec.input
        box = Letterbox.fit((rgb.shape[0], rgb.shape[1]), (to.height, to.width))
        resized = F.interpolate(frame[None], size=box.resized, mode="bilinear", align_corners=False)[0]
        margins = (0, to.width - box.resized[1], 0, to.height - box.resized[0])
        image = F.pad((resized - self._mean) / self._std, margins)[None].contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.float16):
            heads = self._model(image)
            scores = flatten_levels([points_nms(x) for x in heads.logits])
            kernels = flatten_levels(heads.kernels)
            found = decode(scores[0], kernels[0], heads.features[0], self._decoder)
        if len(found.labels):
            masks = enlarge(found.soft, stride=self._decoder.mask_stride, box=box) > self._decoder.mask_threshold
            for mask, label in zip(masks, found.labels, strict=True):
                colour = self._palette[label % len(PALETTE)][:, None, None]
                frame = torch.where(mask, 0.55 * frame + 0.45 * colour, frame)
        return frame.round().byte().permute(1, 2, 0).contiguous().cpu().numpy(), found
