"""SOLOv2 with ONNX Runtime, numpy and OpenCV, as one writes it: full-size masks, one after the other.

Source of the procedure: SOLOv2 (arXiv 2003.10152), sections 3.2 and 3.3, and its released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from solo_rt import defaults
from solo_rt.bench.rivals import Play, Task
from solo_rt.bench.rivals.video_loop import UInt8, draw_label, play_with, require_solov2
from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.render.palette import class_colour

Float32 = NDArray[np.float32]


def open_play(task: Task) -> Play:
    """Return what plays the task. Raises: UsageError for another model than SOLOv2 in an ONNX file."""
    path = find_model(task.model)
    spec = read_spec(path)
    decoder = require_solov2(spec)
    session = onnxruntime.InferenceSession(heads_alone(path.read_bytes(), spec.output_shapes))
    names, to = list(spec.output_shapes), spec.input
    mean, std = np.array(to.mean, np.float32), np.array(to.std, np.float32)

    def annotate(frame: UInt8) -> tuple[UInt8, int]:
        height, width = frame.shape[:2]
        scale = min(to.height / height, to.width / width)
        size = (round(width * scale), round(height * scale))
        rgb = cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_BGR2RGB).astype(np.float32)
        image = np.zeros((to.height, to.width, 3), np.float32)
        image[: size[1], : size[0]] = (rgb - mean) / std
        outputs = session.run(names, {to.name: image.transpose(2, 0, 1)[None].copy()})
        soft, scores, labels = find({n: v[0] for n, v in zip(names, outputs, strict=True)}, decoder)
        drawn = frame.copy()
        for one, score, label in zip(soft, scores, labels, strict=True):
            padded = cv2.resize(one, (to.width, to.height))[: size[1], : size[0]]
            mask = cv2.resize(padded, (width, height)) > decoder.mask_threshold
            ys, xs = np.where(mask)
            if len(xs):
                colour = [int(value) for value in class_colour(label)[::-1]]
                drawn[mask] = (0.55 * drawn[mask] + 0.45 * np.array(colour)).astype(np.uint8)
                box = (xs.min(), ys.min(), xs.max(), ys.max())
                draw_label(drawn, box, f"{spec.classes[label]} {score:.2f}", (colour[0], colour[1], colour[2]))
        return drawn, len(scores)

    return play_with(task, annotate)


def find(outputs: Mapping[str, Any], decoder: SoloV2Decoder) -> tuple[Float32, Float32, NDArray[np.int64]]:
    """Return soft masks [N, h, w], scores and labels of the objects of one picture, best first."""
    kernels, features = outputs["kernels"], outputs["features"]
    cells, labels = np.where(outputs["scores"] > decoder.score_threshold)
    scores = outputs["scores"][cells, labels]
    strides = np.repeat(decoder.level_strides, [grid * grid for grid in decoder.grids])[cells]
    flat = features.reshape(len(features), -1)
    soft = 1 / (1 + np.exp(-(kernels[cells] @ flat).reshape(-1, *features.shape[1:])))
    masks = soft > decoder.mask_threshold
    areas = masks.sum((1, 2))
    scores = scores * (soft * masks).sum((1, 2)) / np.maximum(areas, 1)
    kept = np.where(areas > strides)[0]
    kept = kept[np.argsort(-scores[kept])][: decoder.nms_pre]
    soft, scores, labels, areas = soft[kept], scores[kept], labels[kept], areas[kept]
    scores = scores * decay(masks[kept], areas, labels, sigma=decoder.nms_sigma)
    order = np.argsort(-scores)[: decoder.max_instances]
    order = order[scores[order] >= max(defaults.CONF, decoder.update_threshold)]
    return soft[order], scores[order], labels[order]


def decay(masks: NDArray[np.bool_], areas: Any, labels: Any, *, sigma: float) -> Any:
    """Return the factors [N] of gaussian matrix NMS for masks [N, h, w], best first."""
    if not len(masks):
        return np.zeros(0, np.float32)
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    inter = flat @ flat.T
    iou = np.triu(inter / (areas[:, None] + areas[None] - inter), 1) * (labels[:, None] == labels[None])
    worst = iou.max(0)[:, None]
    return np.exp(-sigma * (iou**2 - worst**2)).min(0)
