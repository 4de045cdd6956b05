"""Outputs on their way to the host: arrays of their own, and of the masks those that exist."""

from __future__ import annotations

import numpy as np
import pytest
from card import SpiedGpu, card

from solo_rt.gpu.downloads import MASKS, DeviceTensor, Downloads

__all__ = ["card"]


class Network:
    """Outputs on the card."""

    def __init__(self, gpu: SpiedGpu, outputs: dict[str, np.ndarray]) -> None:
        self.gpu, self.stream = gpu, gpu.stream()
        self.buffers = {name: gpu.allocate(array.nbytes) for name, array in outputs.items()}
        tensors = {
            name: DeviceTensor(self.buffers[name].ptr, array.shape, array.dtype) for name, array in outputs.items()
        }
        self.downloads = Downloads(gpu, self.stream, tensors)

    def give(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, array in outputs.items():
            self.gpu.upload(self.buffers[name].ptr, array, self.stream)
        self.gpu.copied.clear()
        self.downloads.queue()
        self.stream.synchronize()
        return self.downloads.collect()


def test_outputs_belong_to_the_caller(card):
    gpu = card.open()
    with gpu.bound():
        first = {"scores": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "labels": np.ones((1, 4, 4), np.uint8)}
        network = Network(gpu, first)
        found = network.give(first)
        network.give({name: array + 1 for name, array in first.items()})
        assert list(found) == list(first)
        for name, array in first.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@pytest.mark.parametrize("counts", [[0], [1], [MASKS], [MASKS + 1], [40], [2, 20], [20, 0], [0, 0]])
def test_masks_that_exist_arrive_and_few_others(card, counts):
    gpu, rng = card.open(), np.random.default_rng(0)
    masks = rng.integers(-(1 << 31), 1 << 31, (len(counts), 40, 3, 2), np.int64).astype(np.int32)
    outputs = {"num_dets": np.array(counts, np.int32)[:, None], "det_masks": masks}
    with gpu.bound():
        network = Network(gpu, outputs)
        waits = card.state.waits
        found = network.give(outputs)
        assert card.state.waits - waits == 1 + (max(counts) > MASKS)
    assert found["det_masks"].shape == masks.shape
    for copy, mask, count in zip(found["det_masks"], masks, counts, strict=True):
        np.testing.assert_array_equal(copy[:count], mask[:count])
    copied = sum(nbytes for _, nbytes in gpu.copied) - outputs["num_dets"].nbytes
    assert copied == len(counts) * max(MASKS, *counts) * masks[0, 0].nbytes
