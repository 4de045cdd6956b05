"""The CUDA kernels behind PyTorch's tensors find what the native decoder finds in the same heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from decode_cases import CASES, CELLS, DECODER, SPEC, Heads, assert_native, blobs, nothing
from gpus import Place, place

from solo_rt.decode import decode
from solo_rt.decoders import DetectionsDecoder
from solo_rt.errors import EngineError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import ModelSpec
from solo_rt.train.engine.decoder import DeviceDecoder

__all__ = ["place"]


def tensors(heads: Heads, place: Place, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores, kernels, features = (torch.from_numpy(heads[name]).to(place.device) for name in SPEC.output_shapes)
    return scores, kernels.to(dtype), features.to(dtype)


def detect(heads: Heads, spec: ModelSpec, place: Place, dtype: torch.dtype = torch.float32) -> Heads:
    inputs = tensors(heads, place, dtype)
    decoder = DeviceDecoder(place.library, spec, inputs)
    decoder.decode(*inputs)
    return {name: tensor.cpu().numpy() for name, tensor in decoder.outputs.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_instances_are_those_of_the_native_decoder(place: Place, case: str, dtype: torch.dtype) -> None:
    heads, spec = CASES[case]()
    heads |= {name: torch.from_numpy(heads[name]).to(dtype).float().numpy() for name in ("kernels", "features")}
    assert_native(detect(heads, spec, place, dtype), heads, spec)


def test_outputs_are_as_their_spec_says(place: Place) -> None:
    heads, spec = nothing()
    inputs = tensors(heads, place, torch.float16)
    decoder = DeviceDecoder(place.library, spec, inputs)
    assert decoder.spec.decoder == DetectionsDecoder(max_instances=12, mask_stride=4, nms_pre=40)
    for name, shape in decoder.spec.output_shapes.items():
        found = decoder.outputs[name]
        assert tuple(found.shape) == shape
        assert str(found.dtype) == f"torch.{decoder.spec.decoder.output_type(name)}"


def test_the_next_heads_leave_nothing_of_the_last(place: Place) -> None:
    decoder = DeviceDecoder(place.library, SPEC, tensors(blobs(0), place, torch.float32))
    addresses = [tensor.data_ptr() for tensor in decoder.outputs.values()]
    for heads in (blobs(0), nothing()[0], blobs(1)):
        decoder.decode(*tensors(heads, place, torch.float32))
        assert_native({name: tensor.cpu().numpy() for name, tensor in decoder.outputs.items()}, heads, SPEC)
    assert addresses == [tensor.data_ptr() for tensor in decoder.outputs.values()]


def test_more_candidates_than_slots_are_counted_and_slots_limit_the_instances(place: Place) -> None:
    spec = replace(SPEC, decoder=replace(DECODER, nms_pre=10, score_threshold=0.0))
    found = detect(blobs(2, sparse=0.0), spec, place)
    assert found["det_counts"].tolist() == [[10, CELLS * 3]] * 2
    assert found["det_scores"].shape == (2, 10)


def test_the_run_time_makes_the_same_instances_of_either_form(place: Place) -> None:
    """From the heads with its own decoder, and from what the device left."""
    heads = blobs(3)
    found = detect(heads, SPEC, place)
    decoded = replace(SPEC, decoder=DECODER.detections())
    box = Letterbox((61, 177), (32, 93), (32, 93))
    for b in range(2):
        expected = decode({name: np.ascontiguousarray(x[b]) for name, x in heads.items()}, SPEC, box)
        instances = decode({name: x[b] for name, x in found.items()}, decoded, box)
        assert len(instances) == len(expected) > 1
        np.testing.assert_allclose(instances.scores, expected.scores, atol=2e-6)
        np.testing.assert_array_equal(instances.class_ids, expected.class_ids)
        np.testing.assert_allclose(instances.boxes, expected.boxes, atol=1)


def test_what_the_kernels_refuse_is_said(place: Place) -> None:
    spec = replace(SPEC, decoder=replace(DECODER, nms_pre=4000))
    with pytest.raises(EngineError, match="solo_cuda_find_candidates: a size is out of range"):
        detect(blobs(0), spec, place)
