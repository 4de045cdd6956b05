"""Post-processing of SOLOv2: native decoding and run-length codes against the usual full-frame PyTorch code.

    python tests/bench/postprocess.py [--threads 2] [--repeats 5] [--candidates 50 200 500]

One 448x768 network output (features 128 x 112 x 192, 3872 cells, 80 classes) of a 1280x720 picture, at most 100
instances kept, masks as COCO run-length codes. Times are the least of several runs, in milliseconds. The steps of the
native decoder are differences between runs that stop earlier, so they are rough where a step takes microseconds.
`refine`, on one thread, of a picture of noise in I420, is not part of the total.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from pycocotools import mask as coco_mask
from stopwatch import least_ms
from torch.nn import functional

from solo_rt import _native
from solo_rt.decode import decode
from solo_rt.decode.limits import Outputs
from solo_rt.decode.refinement import refine
from solo_rt.decoders import SoloV2Decoder
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.types import Frame, Instances

FRAME, RESIZED, GRID = (720, 1280), (432, 768), (112, 192)
CHANNELS, CLASSES, OBJECTS = 128, 80, 60
STEPS = ("scan", "conv", "nms", "crop", "boxes", "rle", "refine")
MEAN_AREA = 0.11  # of the frame; the frame and the fit leave 0.08

DECODER = SoloV2Decoder(grids=(40, 36, 24, 16, 12), level_strides=(8, 8, 16, 32, 32))
SPEC = ModelSpec("bench", InputSpec(448, 768), DECODER, tuple(f"class {i}" for i in range(CLASSES)))

NOISE = Frame(
    tuple(np.random.default_rng(0).integers(0, 256, size, np.uint8) for size in (FRAME, *[(360, 640)] * 2)), "yuv420p"
)


def make_scene(candidates: int, seed: int = 0) -> Outputs:
    """Return network outputs whose candidates are near copies of `OBJECTS` ellipses of `MEAN_AREA` on average.

    Features are ramps in all directions plus smooth noise, cut off at zero as by the network's last ReLU; kernels are
    fitted to the ellipses by least squares. Half of all features are 0 and the median logit is about -20, as with
    solov2-nano; 3 of 10 pairs of a mask and an 8 x 8 tile cannot be told empty beforehand, against its 1 to 2.
    """
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in GRID), indexing="ij")
    noise = torch.from_numpy(rng.normal(0, 0.1, (1, CHANNELS, GRID[0] // 8, GRID[1] // 8)).astype(np.float32))
    smooth = functional.interpolate(noise, GRID, mode="bilinear")[0].numpy()
    angle, offset = rng.uniform(0, 2 * np.pi, (CHANNELS, 1, 1)), rng.uniform(-1, 1, (CHANNELS, 1, 1))
    ramps = 2 * (np.cos(angle) * x + np.sin(angle) * y - offset) + smooth
    features = np.maximum(ramps, 0).astype(np.float32)  # [E, h, w]

    area = MEAN_AREA * 4 * rng.lognormal(-0.18, 0.6, OBJECTS)  # of the square [-1, 1]^2; the mean of the factor is 1
    radius = np.sqrt(area / np.pi)[:, None] * np.exp(rng.normal(0, 0.2, OBJECTS))[:, None] ** [1, -1]
    centre = rng.uniform(-0.8, 0.8, (OBJECTS, 2))
    which = rng.integers(0, OBJECTS, candidates)
    cx, cy = (centre[which] + rng.normal(0, 0.02, (candidates, 2))).T[:, :, None, None]
    rx, ry = (radius[which] * np.exp(rng.normal(0, 0.05, (candidates, 2)))).T[:, :, None, None]
    wanted = np.clip(6 * (1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2), -20, 6).reshape(candidates, -1)
    flat = features.reshape(CHANNELS, -1).astype(np.float64)
    gram = flat @ flat.T + 1e-3 * flat.shape[1] * np.eye(CHANNELS)

    cells = rng.choice(DECODER.cells, candidates, replace=False)
    kernels = rng.normal(0, 1, (DECODER.cells, CHANNELS)).astype(np.float32)
    kernels[cells] = np.linalg.solve(gram, flat @ wanted.T).T
    class_of_object = rng.integers(0, 10, OBJECTS)  # ten classes in one picture, each with several objects
    scores = rng.uniform(0, 0.05, (DECODER.cells, CLASSES)).astype(np.float32)
    scores[cells, class_of_object[which]] = rng.uniform(0.15, 0.9, candidates)
    return {"scores": scores, "kernels": kernels, "features": features}


def torch_postprocess(outputs: Outputs) -> list[dict[str, object]]:
    """Return run-length codes the usual way: float masks of all candidates, matrix products, full-size masks."""
    tensors = {name: torch.from_numpy(array) for name, array in outputs.items()}
    cells, classes = (tensors["scores"] > DECODER.score_threshold).nonzero(as_tuple=True)
    scores = tensors["scores"][cells, classes]
    kernels = tensors["kernels"][cells]
    soft = functional.conv2d(tensors["features"][None], kernels[:, :, None, None])[0].sigmoid()  # [K, h, w]
    inside = (soft > DECODER.mask_threshold).float()
    areas = inside.sum((1, 2))
    strides = torch.repeat_interleave(
        torch.tensor(DECODER.level_strides), torch.tensor([grid * grid for grid in DECODER.grids])
    )[cells]
    keep = areas > strides
    soft, inside, areas, scores, classes = (t[keep] for t in (soft, inside, areas, scores, classes))
    scores = scores * (soft * inside).sum((1, 2)) / areas
    order = scores.argsort(descending=True, stable=True)[: DECODER.nms_pre]
    soft, inside, areas, scores, classes = (t[order] for t in (soft, inside, areas, scores, classes))
    flat = inside.flatten(1)
    intersection = flat @ flat.T
    iou = intersection / (areas[:, None] + areas[None, :] - intersection)
    iou = (iou * (classes[:, None] == classes[None, :])).triu(1)
    worst = iou.max(0).values[:, None]
    decay = (torch.exp(-DECODER.nms_sigma * iou**2) / torch.exp(-DECODER.nms_sigma * worst**2)).min(0).values
    scores = scores * decay
    keep = scores >= DECODER.update_threshold
    order = scores[keep].argsort(descending=True, stable=True)[: DECODER.max_instances]
    soft = soft[keep][order]
    size = (GRID[0] * 4, GRID[1] * 4)
    padded = functional.interpolate(soft[None], size, mode="bilinear", align_corners=False)
    frame = functional.interpolate(
        padded[:, :, : RESIZED[0], : RESIZED[1]], FRAME, mode="bilinear", align_corners=False
    )[0]
    masks = (frame > DECODER.mask_threshold).numpy().astype(np.uint8)
    return [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]


def native_steps(outputs: Outputs, threads: int, repeats: int) -> dict[str, float]:
    """Return the milliseconds of each step of the native post-processing."""

    def run(spec: ModelSpec = SPEC) -> Instances:
        return decode(outputs, spec, Letterbox(FRAME, RESIZED, RESIZED), threads=threads)

    def changed(**fields: float) -> ModelSpec:
        return replace(SPEC, decoder=replace(DECODER, **fields))

    found = run()
    masks = found.masks
    arrays = (masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, FRAME)
    scanned = least_ms(lambda: run(changed(score_threshold=0.999)), repeats)
    convolved = least_ms(lambda: run(changed(update_threshold=0.999, nms_pre=1)), repeats)
    suppressed = least_ms(lambda: run(changed(update_threshold=0.999)), repeats)
    boxed = least_ms(lambda: _native.mask_boxes(*arrays, threads), repeats)
    decoded = least_ms(run, repeats)
    return {
        "scan": scanned,
        "conv": convolved - scanned,
        "nms": suppressed - convolved,
        "crop": decoded - suppressed - boxed,
        "boxes": boxed,
        "rle": least_ms(lambda: found.rles(threads=threads), repeats),
        "refine": least_ms(lambda: refine(found, NOISE), repeats),
        "total": least_ms(lambda: run().rles(threads=threads), repeats),
    }


def main() -> None:
    """Print one line per number of candidates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[50, 200, 500])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("candidates  kept   torch ms  native ms  ratio |", *(f"{name:>6s}" for name in STEPS))
    for candidates in options.candidates:
        outputs = make_scene(candidates)
        slow = least_ms(lambda: torch_postprocess(outputs), max(1, options.repeats // 2))  # noqa: B023
        steps = native_steps(outputs, options.threads, options.repeats)
        kept = len(torch_postprocess(outputs))
        split = " ".join(f"{steps[name]:6.2f}" for name in STEPS)
        ratio = slow / steps["total"]
        print(f"{candidates:10d} {kept:5d} {slow:10.1f} {steps['total']:10.2f} {ratio:5.0f}x | {split}")


if __name__ == "__main__":
    main()
