"""Heads of SOLOv2 that a decoder may stumble over, and what the native decoder makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from solo_rt.decode import solov2
from solo_rt.decode.limits import Limits
from solo_rt.decoders import SoloV2Decoder
from solo_rt.spec import InputSpec, ModelSpec

Heads = dict[str, np.ndarray]
DECODER = SoloV2Decoder(grids=(5, 3), level_strides=(4, 8), nms_pre=40, max_instances=12)
SPEC = ModelSpec("tiny", InputSpec(32, 96, batch=2), DECODER, ("a", "b", "c"))  # 8 x 24 cells: 6 words a mask
CELLS, CHANNELS = DECODER.cells, 6


def blobs(seed: int, *, sparse: float = 0.7, spec: ModelSpec = SPEC) -> Heads:
    """Return heads whose masks are smooth and overlap, with scores around the threshold."""
    rng = np.random.default_rng(seed)
    b, h, w = spec.input.batch, spec.input.height // 4, spec.input.width // 4
    scores = rng.uniform(0, 0.6, (b, spec.decoder.cells, len(spec.classes)))
    scores[rng.random(scores.shape) < sparse] = 0
    y, x = np.mgrid[:h, :w]
    bumps = [
        np.exp(-(((y - rng.uniform(0, h)) / h * 2) ** 2 + ((x - rng.uniform(0, w)) / w * 4) ** 2))
        for _ in range(CHANNELS)
    ]
    features = np.stack([np.stack(bumps)] * b) + rng.normal(0, 0.02, (b, CHANNELS, h, w))
    kernels = rng.normal(0, 4, (b, spec.decoder.cells, CHANNELS)) - 1
    return {k: v.astype(np.float32) for k, v in {"scores": scores, "kernels": kernels, "features": features}.items()}


def assert_native(found: Heads, heads: Heads, spec: ModelSpec) -> None:
    """Compare what was found in every picture of the batch with the native decoder."""
    size = (spec.input.height, spec.input.width)
    decoder = spec.decoder
    limits = Limits(decoder.score_threshold, decoder.update_threshold, decoder.max_instances)
    for b in range(spec.input.batch):
        picture = {name: heads[name][b] for name in ("scores", "kernels", "features")}
        scores, labels, _, regions, offsets, data = solov2.find(picture, decoder, limits, threads=1)
        n = len(scores)
        assert found["num_dets"][b, 0] == n
        np.testing.assert_allclose(found["det_scores"][b, :n], scores, atol=2e-6)
        np.testing.assert_array_equal(found["det_labels"][b, :n], labels)
        np.testing.assert_array_equal(found["det_regions"][b, :n], regions)
        soft = found["det_masks"][b].view(np.uint8).reshape(-1, size[0] // 4, size[1] // 4)
        for i in range(n):
            x0, y0, x1, y1 = regions[i]
            crop = soft[i, y0:y1, x0:x1]
            expected = data[offsets[i] : offsets[i + 1]].reshape(y1 - y0, x1 - x0)
            assert np.abs(crop.astype(int) - expected).max(initial=0) <= 1
            np.testing.assert_array_equal(crop > 127, expected > 127)
            assert soft[i].sum() == crop.sum()
        for name in ("det_scores", "det_labels", "det_regions"):
            assert not found[name][b, n:].any()


def with_decoder(seed: int, *, sparse: float = 0.7, **change: object) -> tuple[Heads, ModelSpec]:
    return blobs(seed, sparse=sparse), replace(SPEC, decoder=replace(DECODER, **change))


def nothing() -> tuple[Heads, ModelSpec]:
    heads = blobs(0)
    heads["scores"][:] = 0.1  # exactly the threshold: dropped
    return heads, SPEC


def one_candidate() -> tuple[Heads, ModelSpec]:
    heads = blobs(0)
    heads["scores"][:] = 0
    heads["scores"][0, 7, 1] = 0.9
    heads["kernels"][0, 7] = 3
    return heads, SPEC


def one_empty_picture() -> tuple[Heads, ModelSpec]:
    heads = blobs(1)
    heads["scores"][0] = 0
    return heads, SPEC


def equal_scores() -> tuple[Heads, ModelSpec]:
    heads = blobs(4)
    heads["scores"][heads["scores"] > 0] = 0.5
    return heads, SPEC


def duplicates_of_one_class() -> tuple[Heads, ModelSpec]:
    heads = blobs(5)
    heads["kernels"][:] = heads["kernels"][:, :1]
    heads["scores"][..., 1:] = 0
    return heads, SPEC


def full_and_empty_masks() -> tuple[Heads, ModelSpec]:
    heads = blobs(6)
    heads["features"][:] = 1
    heads["kernels"][:, ::2], heads["kernels"][:, 1::2] = 1, -1
    return heads, SPEC


def mask_as_large_as_its_stride() -> tuple[Heads, ModelSpec]:
    """Return two candidates of four and five pixels, of which the first is dropped."""
    spec = replace(SPEC, input=replace(SPEC.input, batch=1))
    heads = {name: np.zeros_like(values) for name, values in blobs(7, spec=spec).items()}
    heads["features"][0] = -1
    heads["features"][0, 0].reshape(-1)[30:34] = 1  # four pixels, the stride of the first level
    heads["features"][0, 1].reshape(-1)[30:35] = 1
    heads["kernels"][0, 0, 0] = heads["kernels"][0, 1, 1] = 3
    heads["scores"][0, :2, 0] = 0.9
    return heads, spec


def odd_size() -> tuple[Heads, ModelSpec]:
    spec = replace(SPEC, input=InputSpec(32 * 3, 32 * 5))  # 24 x 40 cells
    return blobs(9, spec=spec), spec


CASES: dict[str, Callable[[], tuple[Heads, ModelSpec]]] = {
    **{f"random {seed}": lambda seed=seed: with_decoder(seed) for seed in range(4)},
    **{f"linear {seed}": lambda seed=seed: with_decoder(seed, nms_kernel="linear") for seed in range(4)},
    "more slots than candidates": lambda: with_decoder(3, sparse=0.2, nms_pre=150, max_instances=100),
    "low mask threshold": lambda: with_decoder(8, mask_threshold=0.3),
    "high mask threshold": lambda: with_decoder(8, mask_threshold=0.8),
    **{
        make.__name__.replace("_", " "): make
        for make in (
            nothing,
            one_candidate,
            one_empty_picture,
            equal_scores,
            duplicates_of_one_class,
            full_and_empty_masks,
            mask_as_large_as_its_stride,
            odd_size,
        )
    },
}
