"""The kernels of training against whole arrays in numpy, computed in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from solo_rt import _native

Array = NDArray[Any]

EPSILON = 1e-5
FLOAT, HALF = 1e-5, 2.0**-8  # what may be lost, of the largest value: rounding of sums, rounding to bfloat16
SHAPES = [(1, 1, 3, 1), (2, 3, 5, 7), (1, 9, 11, 256), (2, 13, 17, 300), (4, 41, 59, 32)]  # the last one has 3 pieces
every_set = pytest.mark.parametrize("instruction_set", _native.instruction_sets())
each_type = pytest.mark.parametrize("dtype", [np.float32, np.int16], ids=["float32", "bfloat16"])


def narrowed(values: Array, dtype: type) -> Array:
    """Return `values` as the kernels take them: float32, or bfloat16, rounded to the nearest, in int16."""
    exact = values.astype(np.float32)
    if dtype is np.float32:
        return exact
    bits = exact.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.int16)


def widened(values: Array) -> Array:
    """Return in float64 what a kernel wrote."""
    if values.dtype == np.int16:
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def assert_near(found: Array, expected: Array, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max()))


def norm_case(shape: tuple[int, ...], dtype: type) -> dict[str, Array]:
    """Return what both directions of batch normalisation are given."""
    rng = np.random.default_rng(sum(shape))
    channels = shape[-1]
    return {
        "x": narrowed(rng.normal(rng.normal(0, 3, channels), rng.uniform(0.5, 3, channels), shape), dtype),
        "dy": narrowed(rng.normal(0.1, 1, shape), dtype),
        "gamma": rng.uniform(-2, 2, channels).astype(np.float32),
        "beta": rng.normal(0, 1, channels).astype(np.float32),
        "slopes": rng.uniform(-0.5, 1.5, channels).astype(np.float32),
    }


def normalise(case: dict[str, Array], *, activation: Any, **how: Any) -> list[Array]:
    """Return y, mean, variance, dx, dgamma, dbeta and dslopes by the kernels."""
    x, dy, gamma, beta = (case[name] for name in ("x", "dy", "gamma", "beta"))
    slopes = case["slopes"] if activation == "prelu" else None
    y, dx = np.empty_like(x), np.empty_like(x)
    statistics = _native.batch_norm(x, gamma, beta, EPSILON, activation, slopes, y, **how)
    gradients = _native.batch_norm_gradient(x, dy, gamma, beta, *statistics, EPSILON, activation, slopes, dx, **how)
    return [y, *statistics, dx, *gradients]


@every_set
@each_type
@pytest.mark.parametrize("activation", ["none", "relu", "prelu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_and_its_gradient_are_those_of_the_twin(
    shape: tuple[int, ...], activation: str, dtype: type, instruction_set: str
) -> None:
    case = norm_case(shape, dtype)
    y, mean, variance, dx, *gradients = normalise(case, activation=activation, instruction_set=instruction_set)
    x, dy, gamma, beta, slopes = (widened(case[name]) for name in ("x", "dy", "gamma", "beta", "slopes"))
    slopes = {"none": np.ones_like(slopes), "relu": np.zeros_like(slopes), "prelu": slopes}[activation]
    axes, n = (0, 1, 2), np.prod(shape[:3])
    deviation = np.sqrt(x.var(axes) + EPSILON)
    straight = (x - x.mean(axes)) / deviation
    normal = straight * gamma + beta
    is_above = normal > 0
    lost = FLOAT if dtype is np.float32 else HALF
    assert_near(mean, x.mean(axes), FLOAT)
    assert_near(variance, x.var(axes), FLOAT)
    assert_near(widened(y), np.where(is_above, normal, normal * slopes), lost)
    passed = np.where(is_above, dy, dy * slopes)
    bent = np.where(is_above, 0, dy * normal) if activation == "prelu" else 0 * dy
    for found, expected in zip(gradients, (passed * straight, passed, bent), strict=True):
        assert_near(found, expected.sum(axes), FLOAT)
    products = (passed * straight).sum(axes) * straight / n
    assert_near(widened(dx), gamma / deviation * (passed - passed.sum(axes) / n - products), lost)


@each_type
def test_batch_norm_does_not_depend_on_threads(dtype: type) -> None:
    case = norm_case((3, 70, 90, 64), dtype)
    single, several = (normalise(case, activation="prelu", threads=threads) for threads in (1, 5))
    for one, many in zip(single, several, strict=True):
        np.testing.assert_array_equal(one, many)


def test_a_far_mean_costs_no_variance() -> None:
    x = np.float32([4000, 4000.5, 4001]).reshape(1, 1, 3, 1)
    one = np.ones(1, np.float32)
    mean, variance = _native.batch_norm(x, one, one, EPSILON, "none", None, np.empty_like(x))
    assert (mean[0], variance[0]) == (4000.5, np.float32(1 / 6))


@each_type
@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_a_nan_stays_in_its_channel_and_passes_the_activation(activation: str, dtype: type) -> None:
    case = norm_case((2, 5, 5, 40), dtype)
    case["x"][1, 2, 3, 17] = np.nan if dtype is np.float32 else 0x7FC0
    y, mean, variance, dx, dgamma, _, dslopes = normalise(case, activation=activation)
    for found in (y, mean, variance, dx, dgamma, *([dslopes] if activation == "prelu" else [])):
        is_nan = np.isnan(widened(found)).reshape(-1, 40)
        assert is_nan[:, 17].all()
        assert not np.delete(is_nan, 17, axis=1).any()


def bend(case: dict[str, Array], **how: Any) -> list[Array]:
    """Return y, dx and dslopes by the kernels."""
    x, dy, slopes = (case[name] for name in ("x", "dy", "slopes"))
    y, dx = np.empty_like(x), np.empty_like(x)
    _native.prelu(x, slopes, y, **how)
    return [y, dx, _native.prelu_gradient(x, dy, slopes, dx, **how)]


@every_set
@each_type
@pytest.mark.parametrize("shape", SHAPES)
def test_prelu_and_its_gradient_are_those_of_the_twin(
    shape: tuple[int, ...], dtype: type, instruction_set: str
) -> None:
    case = norm_case(shape, dtype)
    y, dx, dslopes = bend(case, instruction_set=instruction_set)
    x, dy, slopes = (widened(case[name]) for name in ("x", "dy", "slopes"))
    lost = FLOAT if dtype is np.float32 else HALF
    assert_near(widened(y), np.where(x > 0, x, x * slopes), lost)
    assert_near(widened(dx), np.where(x > 0, dy, dy * slopes), lost)
    assert_near(dslopes, np.where(x > 0, 0, x * dy).sum((0, 1, 2)), FLOAT)


@each_type
def test_prelu_does_not_depend_on_threads_and_passes_what_is_no_number(dtype: type) -> None:
    case = norm_case((3, 70, 90, 64), dtype)
    case["x"][1, 2, 3, 17] = np.nan if dtype is np.float32 else 0x7FC0
    single, several = (bend(case, threads=threads) for threads in (1, 5))
    for one, many in zip(single, several, strict=True):
        np.testing.assert_array_equal(one, many)
    assert np.isnan(widened(single[0])).sum() == 1
    assert np.flatnonzero(np.isnan(single[2])).tolist() == [17]


def conv_case(shape: tuple[int, ...], steps: tuple[int, int, int], dtype: type) -> dict[str, Array]:
    """Return what both directions of the convolution are given."""
    rng = np.random.default_rng(sum(shape))
    stride, dilation, padding = steps
    height, width = ((side + 2 * padding - 2 * dilation - 1) // stride + 1 for side in shape[1:3])
    return {
        "x": narrowed(rng.normal(0, 1, shape), dtype),
        "dy": narrowed(rng.normal(0, 1, (shape[0], height, width, shape[3])), dtype),
        "weights": rng.normal(0, 1, (shape[3], 9)).astype(np.float32),
    }


def convolve(case: dict[str, Array], steps: tuple[int, int, int], **how: Any) -> list[Array]:
    """Return y, dx and dweights by the kernels."""
    x, dy, weights = (case[name] for name in ("x", "dy", "weights"))
    y, dx = np.empty_like(dy), np.empty_like(x)
    _native.depthwise_conv(x, weights, *steps, y, **how)
    return [y, dx, _native.depthwise_conv_gradient(x, dy, weights, *steps, dx, **how)]


def convolve_in_numpy(case: dict[str, Array], steps: tuple[int, int, int]) -> list[Array]:
    """Return y, dx and dweights by whole arrays, tap by tap."""
    stride, dilation, padding = steps
    x, dy, weights = (widened(case[name]) for name in ("x", "dy", "weights"))
    edge = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    wide = np.pad(x, edge)
    y, dwide, dweights = np.zeros_like(dy), np.zeros_like(wide), np.zeros_like(weights)
    for tap in range(9):
        rows, columns = (
            slice(place * dilation, place * dilation + stride * (count - 1) + 1, stride)
            for place, count in zip((tap // 3, tap % 3), dy.shape[1:3], strict=True)
        )
        met = (slice(None), rows, columns)
        y += wide[met] * weights[:, tap]
        dwide[met] += dy * weights[:, tap]
        dweights[:, tap] = (wide[met] * dy).sum((0, 1, 2))
    height, width = x.shape[1:3]
    return [y, dwide[:, padding : padding + height, padding : padding + width], dweights]


@every_set
@each_type
@pytest.mark.parametrize("steps", [(1, 1, 1), (2, 1, 1), (1, 4, 4), (2, 1, 0), (3, 2, 1), (1, 1, 3)])
@pytest.mark.parametrize("shape", [(1, 5, 5, 1), (2, 9, 7, 33), (3, 31, 64, 48), (1, 6, 40, 300)])
def test_depthwise_convolution_and_its_gradient_are_those_of_the_twin(
    shape: tuple[int, ...], steps: tuple[int, int, int], dtype: type, instruction_set: str
) -> None:
    case = conv_case(shape, steps, dtype)
    y, dx, dweights = convolve(case, steps, instruction_set=instruction_set)
    exact_y, exact_dx, exact_dweights = convolve_in_numpy(case, steps)
    lost = FLOAT if dtype is np.float32 else HALF
    assert_near(widened(y), exact_y, lost)
    assert_near(widened(dx), exact_dx, lost)
    assert_near(dweights, exact_dweights, FLOAT)


def test_a_picture_of_one_pixel_meets_the_middle_of_the_kernel() -> None:
    one = np.full((1, 1, 1, 1), 3, np.float32)
    weights = np.arange(9, dtype=np.float32)[None]
    y, dx, dweights = convolve({"x": one, "dy": one, "weights": weights}, (1, 1, 1))
    assert (y.item(), dx.item(), dweights.tolist()) == (12, 12, [[0, 0, 0, 0, 9, 0, 0, 0, 0]])


@each_type
def test_depthwise_convolution_does_not_depend_on_threads(dtype: type) -> None:
    case = conv_case((5, 70, 90, 24), (1, 1, 1), dtype)
    for one, many in zip(convolve(case, (1, 1, 1)), convolve(case, (1, 1, 1), threads=5), strict=True):
        np.testing.assert_array_equal(one, many)


def test_what_does_not_fit_is_refused() -> None:
    x, half = np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4, 3), np.int16)
    three, nine = np.ones(3, np.float32), np.ones((3, 9), np.float32)

    def norm(x: Array = x, gamma: Array = three, y: Array | None = None, **how: Any) -> None:
        _native.batch_norm(x, gamma, three, EPSILON, "relu", None, np.empty_like(x) if y is None else y, **how)

    def prelu(x: Array = x, slopes: Array = three, **how: Any) -> None:
        _native.prelu(x, slopes, np.empty_like(x), **how)

    def conv(x: Array = x, weights: Array = nine, steps: tuple[int, int, int] = (1, 1, 1), **how: Any) -> None:
        _native.depthwise_conv(x, weights, *steps, np.empty_like(x), **how)

    for call in (norm, prelu, conv):
        call()
        with pytest.raises(ValueError, match=r"x: expected \[batch, height, width, channels\]"):
            call(x[0])
        with pytest.raises(ValueError, match="an argument is out of range"):
            call(threads=0)
        with pytest.raises(ValueError, match="sizes contradict each other"):
            call(x[:0])
    with pytest.raises(TypeError, match=r"y: expected float32 .* got int16"):
        norm(y=half)
    with pytest.raises(TypeError, match=r"x: expected float32 .* got float64"):
        norm(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"gamma: expected float32 \[3\]"):
        norm(gamma=np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"slopes: expected float32 \[3\]"):
        prelu(slopes=np.ones(4, np.float32))
    for activation, slopes in (("relu", three), ("none", three), ("prelu", None)):
        with pytest.raises(ValueError, match="slopes: expected with prelu and nothing else"):
            _native.batch_norm(x, three, three, EPSILON, activation, slopes, np.empty_like(x))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="activation: expected none, relu or prelu, got gelu"):
        _native.batch_norm(x, three, three, EPSILON, "gelu", None, np.empty_like(x))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights: expected float32 \[3, 9\]"):
        conv(weights=np.ones((3, 8), np.float32))
    for steps in ((0, 1, 1), (1, 0, 1), (1, 1, -1), (1, 2, 0)):  # the last one reaches over five pixels of four
        with pytest.raises(ValueError, match="depthwise_conv: sizes contradict each other"):
            conv(steps=steps)
