"""SOLO and Decoupled SOLO: the native decoder against the numpy reference, and both against known answers."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, FakeSource

from solo_rt import _native
from solo_rt.decode import decode, decode_reference, solo
from solo_rt.decode.limits import Limits
from solo_rt.decode.matrix_nms import pack_bits
from solo_rt.decode.resize import resize_bilinear
from solo_rt.decoders import SoloDecoder
from solo_rt.errors import SpecError, UsageError
from solo_rt.pipeline import stream
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec, ModelSpec

SIZE = (64, 96)  # of the network's input
GRID = (16, 24)
CELLS = SoloDecoder("cells", grids=(4, 3, 2), level_strides=(8, 16, 32))
AXES = replace(CELLS, masks="axes")
CLASSES = 3


def spec_of(decoder):
    return ModelSpec("test", InputSpec(*SIZE), decoder, tuple(f"c{i}" for i in range(CLASSES)))


def random_outputs(decoder, seed, *, share=0.4, channels=5):
    rng = np.random.default_rng(seed)
    shapes = spec_of(decoder).output_shapes
    outputs = {}
    for name, (_, *shape) in shapes.items():
        if name == "scores":
            values = rng.uniform(0.1, 1, shape)
            values[rng.random(shape) > share] = 0
        elif name == "kernels":
            values = rng.normal(0, 1, (decoder.cells, channels + 1))
        else:
            shape[0] = channels if shape[0] == -1 else shape[0]
            values = 3 * resize_bilinear(rng.normal(0.3, 1, (shape[0], 2, 3)).astype(np.float32), tuple(shape[1:]))
        outputs[name] = np.ascontiguousarray(values, np.float32)
    return outputs


def limits_of(decoder):
    return Limits(decoder.score_threshold, decoder.update_threshold, decoder.max_instances)


def assert_agrees(outputs, decoder, *, threads=1):
    found = solo.find(outputs, decoder, limits_of(decoder), threads=threads)
    expected = decode_reference(outputs, spec_of(decoder), Letterbox(SIZE, SIZE, SIZE))
    np.testing.assert_array_equal(found.cells, expected.cells)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    threshold = decoder.mask_threshold
    for i, soft in enumerate(expected.soft):
        x0, y0, x1, y1 = found.regions[i]
        crop = found.data[found.offsets[i] : found.offsets[i + 1]].reshape(y1 - y0, x1 - x0).astype(int)
        dense = np.zeros(GRID, int)
        dense[y0:y1, x0:x1] = crop
        sure = np.abs(soft - threshold) > 1e-5
        np.testing.assert_array_equal((dense > 127)[sure], (soft > threshold)[sure])
        with np.errstate(divide="ignore", invalid="ignore"):
            shifted = soft * (1 - threshold) / (soft * (1 - threshold) + (1 - soft) * threshold)
        assert np.abs(crop - 255 * shifted[y0:y1, x0:x1]).max() <= 1
        ys, xs = np.nonzero(soft > threshold)
        assert (x0, y0) == (max(xs.min() - 1, 0), max(ys.min() - 1, 0))
        assert (x1, y1) == (min(xs.max() + 2, GRID[1]), min(ys.max() + 2, GRID[0]))
    return len(found.scores)


@pytest.mark.parametrize("decoder", [CELLS, AXES], ids=lambda d: d.masks)
@pytest.mark.parametrize("seed", range(4))
def test_native_decoding_agrees_with_the_reference(decoder, seed):
    assert assert_agrees(random_outputs(decoder, seed), decoder, threads=1 + seed % 2) > 3


@pytest.mark.parametrize("decoder", [CELLS, AXES], ids=lambda d: d.masks)
@pytest.mark.parametrize(
    "change",
    [
        {"mask_threshold": 0.35},
        {"nms_pre": 7, "max_instances": 3},
        {"nms_kernel": "linear"},
        {"update_threshold": 0.4},
        {"level_strides": (8, 16, 32), "mask_stride": 8},
    ],
    ids=str,
)
def test_every_parameter_counts(decoder, change):
    decoder = replace(decoder, **change)
    outputs = random_outputs(decoder, 5)
    if decoder.mask_stride == 4:
        assert_agrees(outputs, decoder)
    else:  # the grid is then coarser than the maps of the first level
        found = solo.find(outputs, decoder, limits_of(decoder), threads=1)
        expected = decode_reference(outputs, spec_of(decoder), Letterbox(SIZE, SIZE, SIZE))
        assert expected.soft.shape[1:] == (8, 12)
        np.testing.assert_array_equal(found.cells, expected.cells)


@pytest.mark.parametrize("decoder", [CELLS, AXES], ids=lambda d: d.masks)
def test_no_candidates_no_instances(decoder):
    outputs = random_outputs(decoder, 0, share=0.0)
    assert assert_agrees(outputs, decoder) == 0
    found = decode(outputs, spec_of(decoder), Letterbox((33, 47), SIZE, SIZE))
    assert len(found.scores) == 0


def test_more_candidates_than_a_chunk_holds(monkeypatch):
    outputs = random_outputs(CELLS, 1)
    whole = solo.find(outputs, CELLS, limits_of(CELLS), threads=1)
    monkeypatch.setattr(solo, "CHUNK", 2)
    parts = solo.find(outputs, CELLS, limits_of(CELLS), threads=1)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def empty_outputs(decoder):
    return {name: np.zeros_like(values) for name, values in random_outputs(decoder, 0).items()}


def test_a_cell_has_its_kernel_and_its_bias():
    outputs = empty_outputs(CELLS)
    cell = 16 + 4  # of the second level, whose features are 4 x 6
    outputs["scores"][cell, 1] = 0.8
    outputs["features1"][2] = np.where(np.arange(6) < 3, 10.0, -10.0)
    outputs["kernels"][cell, [2, 5]] = 1.0, 2.0  # 12 in the left half, -8 in the right
    found = decode_reference(outputs, spec_of(CELLS), Letterbox(SIZE, SIZE, SIZE))
    assert found.cells.tolist() == [cell]
    assert found.class_ids.tolist() == [1]
    assert found.masks[0, :, :40].all()
    assert not found.masks[0, :, 56:].any()
    # Enlarged once as logits, as the network would have, and the rest of the way as probabilities.
    halfway = resize_bilinear(np.array([[12.0, 12.0, 12.0, -8.0, -8.0, -8.0]], np.float32), (1, 12))
    expected = resize_bilinear((1 / (1 + np.exp(-halfway))).astype(np.float32), (1, 24))
    np.testing.assert_allclose(found.soft[0][7], expected[0], rtol=1e-5)
    assert assert_agrees(outputs, CELLS) == 1


def test_a_product_is_made_of_enlarged_probabilities():
    outputs = empty_outputs(AXES)
    row, column = 2, 0
    outputs["scores"][16 + row * 3 + column, 2] = 0.9
    x, y = outputs["maps1"][column], outputs["maps1"][3 + row]  # 8 x 12 each
    x[:], y[:] = -9, -9
    x[:, 2:8], y[3:7] = 9, 9
    found = decode_reference(outputs, spec_of(AXES), Letterbox(SIZE, SIZE, SIZE))
    assert found.cells.tolist() == [16 + row * 3 + column]
    probability = {True: 1 / (1 + np.exp(-9.0)), False: 1 / (1 + np.exp(9.0))}
    along_x = resize_bilinear(np.array([[probability[2 <= i < 8] for i in range(12)]], np.float32), (1, 24))[0]
    along_y = resize_bilinear(np.array([[probability[3 <= i < 7] for i in range(8)]], np.float32), (1, 16))[0]
    np.testing.assert_allclose(found.soft[0], along_y[:, None] * along_x, rtol=1e-5)
    assert assert_agrees(outputs, AXES) == 1


def test_masks_of_no_more_pixels_than_the_stride_are_dropped():
    for extra, count in ((0, 0), (1, 1)):
        outputs = empty_outputs(AXES)
        outputs["scores"][0, 0] = 0.9
        x, y = outputs["maps0"][0], outputs["maps0"][4]
        x[:], y[:] = -9, 9
        x[0, : 8 + extra] = 9  # the stride of the level is 8
        assert assert_agrees(outputs, AXES) == count


def test_scores_that_are_no_numbers_find_nothing():
    outputs = random_outputs(CELLS, 2)
    outputs["scores"][3] = np.nan
    outputs["kernels"][4] = np.nan
    found = solo.find(outputs, CELLS, limits_of(CELLS), threads=1)
    assert not set(found.cells.tolist()) & {3, 4}


def test_conf_and_max_det_narrow_what_is_found():
    outputs, spec = random_outputs(AXES, 3), spec_of(AXES)
    everything = decode(outputs, spec, Letterbox((50, 70), (60, 84), (60, 84)))
    assert len(everything.scores) > 3
    conf = float(everything.scores[2])
    some = decode(outputs, spec, Letterbox((50, 70), (60, 84), (60, 84)), conf=conf)
    np.testing.assert_array_equal(some.scores, everything.scores[everything.scores >= conf])
    one = decode(outputs, spec, Letterbox((50, 70), (60, 84), (60, 84)), max_det=1)
    np.testing.assert_array_equal(one.boxes, everything.boxes[:1])


def test_bits_lie_in_tiles_and_products_are_what_they_say():
    soft = np.random.default_rng(0).random((3, 11, 13)).astype(np.float32)
    first, second = np.array([0, 2, 1], np.int32), np.array([1, 2, 0], np.int32)
    bits, areas, sums = _native.binarise_products(soft, first, second, 0.25, 2)
    product = soft[first] * soft[second]
    inside = product > 0.25
    np.testing.assert_array_equal(areas, inside.sum((1, 2)))
    np.testing.assert_allclose(sums, np.where(inside, product, 0).sum((1, 2)), rtol=1e-5)
    padded = np.pad(inside, ((0, 0), (0, 5), (0, 3))).reshape(3, 2, 8, 2, 8).transpose(0, 1, 3, 2, 4)
    np.testing.assert_array_equal(bits, pack_bits(padded))


@pytest.mark.parametrize(("size", "between", "grid"), [((3, 5), (6, 10), (24, 40)), ((4, 4), (4, 4), (7, 3))])
def test_maps_are_enlarged_before_and_after_the_sigmoid(size, between, grid):
    maps = np.random.default_rng(1).normal(0, 3, (4, *size)).astype(np.float32)
    rows = np.array([3, 0, 3], np.int32)
    expected = resize_bilinear(1 / (1 + np.exp(-resize_bilinear(maps[rows], between))), grid)
    np.testing.assert_allclose(_native.enlarge_maps(maps, rows, between, grid, 1), expected, atol=1e-6)
    assert _native.enlarge_maps(maps, rows[:0], between, grid).shape == (0, *grid)


def test_more_threads_than_maps_cost_no_memory():
    maps = np.random.default_rng(1).normal(0, 3, (20, 3, 5)).astype(np.float32)
    rows = np.arange(20, dtype=np.int32)
    one, many = (_native.enlarge_maps(maps, rows, (6, 10), (7, 9), threads) for threads in (1, 2**31 - 1))
    np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("threads", [1, 2**22, 2**31 - 1])
@pytest.mark.parametrize("count", [1, 16])
def test_maps_that_no_memory_holds_are_refused(count, threads):
    maps, rows = np.zeros((1, 2, 2), np.float32), np.zeros(count, np.int32)
    with pytest.raises(ValueError, match="enlarge_maps: sizes contradict each other"):
        _native.enlarge_maps(maps, rows, (2**20 - 1, 2**20), (2, 2), threads)


def test_other_threads_run_while_masks_are_searched():
    """With no turns for threads that wait, one runs only where the kernel lets it."""
    gate, ran = threading.Lock(), threading.Event()
    bits, rows, grid = np.zeros((1, 2040), np.uint64), np.zeros(20000, np.int32), (272, 480)
    other = threading.Thread(target=lambda: (gate.acquire(), ran.set()))
    gate.acquire()
    other.start()
    turn = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1000)
        gate.release()
        for _ in range(50):
            _native.mask_regions(bits, rows, grid)
            if ran.is_set():
                break
        assert ran.is_set()
    finally:
        sys.setswitchinterval(turn)
        other.join()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 5, 7), (2, 4, 4, 48), (3, 1, 17, 2), (1, 2, 8, 33)])
def test_maps_are_put_plane_by_plane(shape):
    maps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    planes = _native.channels_first(maps)
    assert planes.flags.c_contiguous
    np.testing.assert_array_equal(planes, maps.transpose(0, 3, 1, 2))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="channels_first: sizes contradict each other"):
        _native.channels_first(np.zeros((1, 0, 4, 3), np.float32))
    with pytest.raises(ValueError, match="maps: expected a contiguous array"):
        _native.channels_first(np.zeros((1, 4, 4, 3), np.float32)[:, :, ::2])
    maps, rows = np.zeros((2, 3, 4), np.float32), np.zeros(1, np.int32)
    with pytest.raises(ValueError, match=r"rows: expected rows in 0\.\.1"):
        _native.enlarge_maps(maps, rows + 2, (3, 4), (3, 4))
    with pytest.raises(ValueError, match="enlarge_maps: sizes contradict each other"):
        _native.enlarge_maps(maps, rows, (0, 4), (3, 4))
    for threads in (0, -(2**31)):
        with pytest.raises(ValueError, match="enlarge_maps: an argument is out of range"):
            _native.enlarge_maps(maps, rows, (3, 4), (3, 4), threads)
    with pytest.raises(ValueError, match="binarise_products: an argument is out of range"):
        _native.binarise_products(maps, rows, None, 1.5)
    with pytest.raises(ValueError, match="crop_products: sizes contradict each other"):
        _native.crop_products(maps, rows, None, 0.5, np.array([[0, 0, 9, 1]], np.int32), np.array([0, 9]))
    outputs = random_outputs(CELLS, 0)
    with pytest.raises(ValueError, match=r"features0: expected float32 \[F, h, w\] of one picture, got 4 axes"):
        decode({**outputs, "features0": outputs["features0"][None]}, spec_of(CELLS), Letterbox(SIZE, SIZE, SIZE))
    with pytest.raises(UsageError, match="a picture within 64x96, got one of 65x96"):
        decode(outputs, spec_of(CELLS), Letterbox((10, 10), (65, 96), (65, 96)))


@pytest.mark.parametrize("decoder", [CELLS, AXES], ids=lambda d: d.masks)
def test_the_spec_survives_json(decoder):
    spec = spec_of(decoder)
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_impossible_decoders_are_refused():
    with pytest.raises(SpecError, match="masks of cells or axes, got 'rows'"):
        replace(CELLS, masks="rows")
    with pytest.raises(SpecError, match="one stride per grid"):
        replace(CELLS, grids=(4,))
    for last in (31, 0):
        with pytest.raises(SpecError, match="even strides above 0"):
            replace(CELLS, level_strides=(8, 16, last))


@pytest.mark.parametrize("decoder", [CELLS, AXES], ids=lambda d: d.masks)
def test_a_run_finds_instances(decoder):
    class Engine(FakeEngine):
        def infer(self, inputs):
            self.calls += 1
            return {name: values[None] for name, values in random_outputs(decoder, self.calls).items()}

    with closing(stream(FakeSource(4), model=Engine(spec=spec_of(decoder)))) as results:
        counts = [len(result.instances.scores) for result in results]
    assert len(counts) == 4
    assert all(counts)
