"""SOLOv2 as one first writes it in PyTorch: dense masks, one operation after the other, the host in between.

Source of the procedure: SOLOv2 (arXiv 2003.10152), sections 3.2 and 3.3, and its released code.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt import defaults
from solo_rt.bench.rivals import Play, Task
from solo_rt.bench.rivals.torch_graph import TorchGraph
from solo_rt.bench.rivals.video_loop import UInt8, draw_label, play_with, require_solov2
from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.preprocess import Letterbox
from solo_rt.render.palette import PALETTE, class_colour


class Found(NamedTuple):
    """Instances of one picture, best first."""

    soft: Tensor  # [N, h, w] probabilities on the grid
    scores: Tensor  # float32 [N]
    labels: Tensor  # int64 [N]


def open_play(task: Task) -> Play:
    """Return what plays the task, on the first GPU if there is one and the CPU is not asked for.

    Raises: UsageError for another model than SOLOv2 in an ONNX file.
    """
    path = find_model(task.model)
    spec = read_spec(path)
    decoder, to = require_solov2(spec), spec.input
    device = torch.device("cuda" if task.device != "cpu" and torch.cuda.is_available() else "cpu")
    network = TorchGraph(heads_alone(path.read_bytes(), spec.output_shapes)).eval().to(device)
    mean, std = (torch.tensor(x, device=device)[:, None, None] for x in (to.mean, to.std))
    palette = torch.tensor(PALETTE, device=device)

    @torch.inference_mode()
    def annotate(bgr: UInt8) -> tuple[UInt8, int]:
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        frame = torch.from_numpy(rgb).to(device).permute(2, 0, 1).float()  # [3, H, W]
        box = Letterbox.fit((bgr.shape[0], bgr.shape[1]), (to.height, to.width))
        resized = F.interpolate(frame[None], size=box.resized, mode="bilinear", align_corners=False)[0]
        margins = (0, to.width - box.resized[1], 0, to.height - box.resized[0])
        image = F.pad((resized - mean) / std, margins)[None]
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            outputs = network(image)
            found = decode(outputs["scores"][0], outputs["kernels"][0], outputs["features"][0], decoder)
        kept = found.scores >= defaults.CONF
        found = Found(found.soft[kept], found.scores[kept], found.labels[kept])
        boxes: list[list[int]] = []
        if len(found.labels):
            masks = enlarge(found.soft, stride=decoder.mask_stride, box=box) > decoder.mask_threshold
            for mask, label in zip(masks, found.labels, strict=True):
                colour = palette[label % len(PALETTE)][:, None, None]
                frame = torch.where(mask, 0.55 * frame + 0.45 * colour, frame)
                ys, xs = torch.nonzero(mask, as_tuple=True)
                boxes.append([int(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())] if len(xs) else [])
        drawn = cv2.cvtColor(frame.round().byte().permute(1, 2, 0).contiguous().cpu().numpy(), cv2.COLOR_RGB2BGR)
        for one, score, label in zip(boxes, found.scores.tolist(), found.labels.tolist(), strict=True):
            if one:
                red, green, blue = (int(value) for value in class_colour(label))
                draw_label(drawn, one, f"{spec.classes[label]} {score:.2f}", (blue, green, red))
        return drawn, len(boxes)

    return play_with(task, annotate)


def decode(scores: Tensor, kernels: Tensor, features: Tensor, decoder: SoloV2Decoder) -> Found:
    """Return the instances of one picture from scores [cells, C], kernels [cells, E] and features [E, h, w]."""
    cells, labels = (scores > decoder.score_threshold).nonzero(as_tuple=True)
    scores = scores[cells, labels].float()
    sizes = torch.tensor([grid * grid for grid in decoder.grids], device=scores.device)
    strides = torch.tensor(decoder.level_strides, device=scores.device).repeat_interleave(sizes)[cells]
    soft = torch.einsum("ne,ehw->nhw", kernels[cells], features).sigmoid()
    masks = soft > decoder.mask_threshold
    areas = masks.sum((1, 2)).float()
    scores = scores * (soft * masks).sum((1, 2), dtype=torch.float32) / areas.clamp(min=1)
    kept = areas > strides
    soft, masks, areas, scores, labels = soft[kept], masks[kept], areas[kept], scores[kept], labels[kept]
    order = scores.argsort(descending=True)[: decoder.nms_pre]
    soft, masks, areas, scores, labels = soft[order], masks[order], areas[order], scores[order], labels[order]

    scores = scores * matrix_decay(masks, areas, labels, sigma=decoder.nms_sigma)
    order = scores.argsort(descending=True)[: decoder.max_instances]
    order = order[scores[order] >= decoder.update_threshold]
    return Found(soft[order], scores[order], labels[order])


def enlarge(soft: Tensor, *, stride: int, box: Letterbox) -> Tensor:
    """Return soft masks [N, h, w], which must not be none, at frame size [N, H, W]."""
    padded = F.interpolate(soft[None].float(), scale_factor=stride, mode="bilinear", align_corners=False)
    cut = padded[..., : box.resized[0], : box.resized[1]]
    return F.interpolate(cut, size=box.frame_size, mode="bilinear", align_corners=False)[0]


def matrix_decay(masks: Tensor, areas: Tensor, labels: Tensor, *, sigma: float) -> Tensor:
    """Return the factors [n] of gaussian matrix NMS for masks bool [n, h, w], best first (section 3.3.2)."""
    if not len(masks):
        return areas
    flat = masks.flatten(1).float()
    inter = flat @ flat.T
    iou = inter / (areas[:, None] + areas[None] - inter).clamp(min=1)
    iou = (iou * (labels[:, None] == labels[None])).triu(1)
    worst = iou.amax(0)[:, None]
    return torch.exp(-sigma * (iou**2 - worst**2)).amin(0)
