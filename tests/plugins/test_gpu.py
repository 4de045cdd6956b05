"""What only a GPU can show: streams that overlap, CUDA graphs, and sizes of real models."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from decoder import (
    binarise_masks,
    find_candidates,
    find_candidates_reference,
    logits_of,
    pack_words,
    words_of,
)
from devices import Cuda

from solo_rt.gpu.kernels import ConvShape

pytestmark = pytest.mark.cuda


class Binarise:
    """A call of solo_cuda_binarise_masks whose memory stays where it is."""

    def __init__(self, gpu: Cuda, seed: int, *, slots: int = 70, size: tuple[int, int] = (24, 40)) -> None:
        rng = np.random.default_rng(seed)
        self.gpu = gpu
        self.kernels = rng.integers(-2, 3, (1, 50, 64)).astype(np.float32)
        self.features = rng.integers(-2, 3, (1, 64, *size)).astype(np.float32)
        self.candidates = rng.integers(0, 50, (1, slots)).astype(np.int32)
        self.counts = np.array([[slots, slots]], np.int32)
        self.shape = ConvShape(1, 1, 50, 64, *size, slots, 1)
        self.inputs = [
            gpu.array(a) for a in (self.kernels.astype(np.float16), self.features.astype(np.float16), self.candidates,
                                   self.counts)
        ]  # fmt: skip
        self.workspace = gpu.workspace("solo_cuda_binarise_masks", ctypes.byref(self.shape))
        self.masks = gpu.empty((1, slots, words_of(*size)), np.uint32)
        self.areas = gpu.empty((1, slots), np.int32)
        self.sums = gpu.empty((1, slots), np.float32)

    def call(self) -> None:
        """Enqueue it on the stream in use."""
        status = self.gpu.call(
            "solo_cuda_binarise_masks", ctypes.byref(self.shape), *self.inputs, ctypes.c_float(0), self.workspace,
            ctypes.c_int64(self.workspace.nbytes), self.masks, self.areas, self.sums,
        )  # fmt: skip
        assert status == 0

    def check(self) -> None:
        """Compare the result with numpy."""
        n = self.counts[0, 0]
        inside = logits_of(self.kernels[0], self.features[0], self.candidates[0, :n]) > 0
        np.testing.assert_array_equal(self.masks.numpy()[0, :n], pack_words(inside))
        np.testing.assert_array_equal(self.areas.numpy()[0, :n], inside.sum(axis=(1, 2)))


def test_two_streams_at_once(gpu):
    streams = [gpu.torch.cuda.Stream() for _ in range(2)]
    calls = [Binarise(gpu, seed) for seed in range(2)]
    for _ in range(50):
        for stream, call in zip(streams, calls, strict=True):
            gpu.use(stream)
            call.call()
    for call in calls:
        call.check()


def test_graph_replays_with_other_inputs(gpu):
    call = Binarise(gpu, 2)
    stream = gpu.torch.cuda.Stream()
    gpu.use(stream)
    call.call()
    gpu.torch.cuda.synchronize()
    graph = gpu.torch.cuda.CUDAGraph()
    with gpu.torch.cuda.graph(graph, stream=stream):
        call.call()
    graph.replay()
    call.check()
    for count in (0, 1, 33):
        call.counts[:] = count
        call.inputs[3].memory[: call.counts.nbytes] = gpu.torch.from_numpy(call.counts.view(np.uint8)[0]).cuda()
        gpu.torch.cuda.synchronize()
        graph.replay()
        call.check()


def test_candidates_of_a_large_model(gpu):
    rng = np.random.default_rng(0)
    scores = rng.random((2, 3872 * 80), np.float32) ** 200
    for slots in (500, 2048):
        found = find_candidates(gpu, scores, threshold=0.1, slots=slots)
        expected = find_candidates_reference(scores, threshold=0.1, slots=slots)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("type_name", ["float32", "float16"])
@pytest.mark.parametrize(("channels", "size"), [(128, (112, 192)), (256, (200, 336))])
def test_masks_of_large_models_are_those_of_torch(gpu, channels, size, type_name):
    rng = np.random.default_rng(1)
    scale = channels**-0.25
    kernels = (rng.normal(0, scale, (1, 500, channels))).astype(np.float16).astype(np.float32)
    features = (rng.normal(0, scale, (1, channels, *size))).astype(np.float16).astype(np.float32)
    candidates, counts = np.arange(500, dtype=np.int32)[None], np.array([[500, 500]], np.int32)
    found = binarise_masks(gpu, kernels, features, candidates, counts, divisor=1, type_name=type_name)
    torch = gpu.torch
    logits = (
        torch.from_numpy(kernels[0]).cuda().double()
        @ torch.from_numpy(features[0].reshape(channels, -1)).cuda().double()
    )
    bits = (logits > 0).cpu().numpy()
    # Rounding decides pixels whose logit is next to nothing.
    unclear = (logits.abs() < 1e-5 * channels**0.5).cpu().numpy()
    mine = np.unpackbits(found.words[0].view(np.uint8), axis=1, bitorder="little")[:, : bits.shape[1]].astype(np.bool_)
    assert not ((mine != bits) & ~unclear).any()
    np.testing.assert_array_equal(found.areas[0], mine.sum(axis=1))
    sums = torch.where(logits > 0, logits.sigmoid(), 0).sum(dim=1).cpu().numpy()
    np.testing.assert_allclose(found.soft_sums[0], sums, rtol=1e-4)
    again = binarise_masks(gpu, kernels, features, candidates, counts, divisor=1, type_name=type_name)
    np.testing.assert_array_equal(found.words, again.words)
    np.testing.assert_array_equal(found.soft_sums, again.soft_sums)
