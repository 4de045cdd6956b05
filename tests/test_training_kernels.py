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
    case = norm_case((3, 140, 90, 64), dtype)
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
    case = norm_case((3, 140, 90, 64), dtype)
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


def weight_gradient_in_numpy(x: Array, dy: Array, kernel: int, stride: int, dilation: int, padding: int) -> Array:
    """Return the gradient of the weights by whole arrays, tap by tap."""
    wide = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dweights = np.empty((dy.shape[3], x.shape[3], kernel, kernel))
    for row, column in np.ndindex(kernel, kernel):
        down, right = (
            slice(place * dilation, place * dilation + stride * (count - 1) + 1, stride)
            for place, count in zip((row, column), dy.shape[1:3], strict=True)
        )
        dweights[:, :, row, column] = np.tensordot(dy.astype(np.float64), wide[:, down, right], ((0, 1, 2), (0, 1, 2)))
    return dweights


def dense_case(shape: tuple[int, ...], out: int, steps: tuple[int, int, int, int]) -> tuple[Array, Array]:
    """Return x and dy of a convolution to `out` channels; `steps` are kernel, stride, dilation and padding."""
    rng = np.random.default_rng(sum(shape) + out)
    kernel, stride, dilation, padding = steps
    sides = ((side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in shape[1:3])
    return tuple(rng.normal(0, 1, size).astype(np.float32) for size in (shape, (shape[0], *sides, out)))


@every_set
@pytest.mark.parametrize("steps", [(3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 4, 4), (1, 1, 1, 0), (5, 3, 2, 1), (2, 1, 1, 3)])
@pytest.mark.parametrize(
    ("shape", "out"),
    [
        ((1, 9, 9, 1), 1),
        ((2, 11, 14, 7), 17),
        ((1, 10, 12, 101), 32),  # channels of three pieces
        ((3, 40, 31, 6), 16),  # several strips
        ((1, 12, 530, 5), 3),  # rows longer than a strip
    ],
)
def test_the_gradient_of_weights_is_that_of_the_twin(
    shape: tuple[int, ...], out: int, steps: tuple[int, int, int, int], instruction_set: str
) -> None:
    x, dy = dense_case(shape, out, steps)
    found = _native.weight_gradient(x, dy, *steps, instruction_set=instruction_set)
    assert_near(found, weight_gradient_in_numpy(x, dy, *steps), FLOAT)


def test_the_gradient_of_weights_does_not_depend_on_threads() -> None:
    x, dy = dense_case((5, 60, 70, 24), 40, (3, 1, 1, 1))
    one, many = (_native.weight_gradient(x, dy, 3, 1, 1, 1, threads) for threads in (1, 5))
    np.testing.assert_array_equal(one, many)


def test_a_gradient_of_weights_sees_nothing_but_its_maps() -> None:
    x, dy = dense_case((2, 6, 5, 7), 9, (3, 1, 1, 1))
    x[0, 2, 3, 4] = np.nan
    is_nan = np.isnan(_native.weight_gradient(x, dy, 3, 1, 1, 1))
    assert is_nan[:, 4].all()
    assert not np.delete(is_nan, 4, axis=1).any()


def loss_case(shape: tuple[int, ...], dtype: type, *, planar: bool) -> dict[str, Array]:
    """Return what both directions of cross entropy are given for logits `[B, H, W, C]`; some labels are ignored."""
    rng = np.random.default_rng(sum(shape))
    logits = rng.normal(0, 4, shape)
    labels = rng.integers(0, shape[-1], shape[:3]).astype(np.uint8)
    labels[rng.random(shape[:3]) < 0.2] = 255
    return {
        "logits": narrowed(np.ascontiguousarray(np.moveaxis(logits, 3, 1)) if planar else logits, dtype),
        "labels": labels,
        "dlosses": rng.normal(0, 1, shape[:3]).astype(np.float32),
    }


def cost(case: dict[str, Array], *, planar: bool, **how: Any) -> list[Array]:
    """Return the losses, where labels are right, and the gradient of the logits by the kernels."""
    logits, labels, dlosses = (case[name] for name in ("logits", "labels", "dlosses"))
    dlogits = np.empty_like(logits)
    _native.cross_entropy_gradient(logits, labels, dlosses, planar, dlogits, **how)
    return [*_native.cross_entropy(logits, labels, planar, **how), dlogits]


def cost_in_numpy(case: dict[str, Array], *, planar: bool) -> list[Array]:
    """Return the losses, where labels are right, and the gradient of the logits by whole arrays."""
    axis = 1 if planar else 3
    logits, labels = widened(case["logits"]), case["labels"]
    counted = labels != 255
    own = np.moveaxis(np.arange(logits.shape[axis]) == labels[..., None], 3, axis)
    below = logits - logits.max(axis, keepdims=True)
    shares = np.exp(below) / np.exp(below).sum(axis, keepdims=True)
    losses = np.log(np.exp(below).sum(axis)) - np.where(own, below, 0).sum(axis)
    given = np.expand_dims(np.where(counted, case["dlosses"], 0), axis)
    right = counted & (np.where(own, below, -1).max(axis) == 0)
    return [np.where(counted, losses, 0), right, (shares - own) * given]


@every_set
@each_type
@pytest.mark.parametrize("planar", [False, True], ids=["pixels", "planes"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 3, 5, 7), (3, 8, 8, 1), (2, 33, 61, 11), (1, 9, 15, 256)])
def test_cross_entropy_and_its_gradient_are_those_of_the_twin(
    shape: tuple[int, ...], planar: bool, dtype: type, instruction_set: str
) -> None:
    case = loss_case(shape, dtype, planar=planar)
    losses, right, dlogits = cost(case, planar=planar, instruction_set=instruction_set)
    exact_losses, exact_right, exact_dlogits = cost_in_numpy(case, planar=planar)
    np.testing.assert_allclose(losses, exact_losses, rtol=1e-6, atol=1e-6)
    assert_near(widened(dlogits), exact_dlogits, 1e-6 if dtype is np.float32 else HALF)
    np.testing.assert_array_equal(right, exact_right)
    assert not losses[case["labels"] == 255].any()


@every_set
def test_small_probabilities_are_as_exact_as_large_ones(instruction_set: str) -> None:
    """A class that is `below` the one of the label has exp(-below) of its probability, down to the least number."""
    below = np.linspace(0, 87, 20_001, dtype=np.float32)
    logits = np.stack([np.full_like(below, 50), 50 - below], axis=-1)[None, None]  # [1, 1, W, 2]
    labels, dlosses = np.zeros((1, 1, below.size), np.uint8), np.ones((1, 1, below.size), np.float32)
    dlogits = np.empty_like(logits)
    _native.cross_entropy_gradient(logits, labels, dlosses, False, dlogits, instruction_set=instruction_set)
    apart = 50 - logits[0, 0, :, 1].astype(np.float64)
    np.testing.assert_allclose(dlogits[0, 0, :, 1], 1 / (1 + np.exp(apart)), rtol=5e-7, atol=0)


@each_type
@pytest.mark.parametrize("planar", [False, True], ids=["pixels", "planes"])
def test_cross_entropy_does_not_depend_on_threads(planar: bool, dtype: type) -> None:
    case = loss_case((3, 70, 90, 19), dtype, planar=planar)
    for one, many in zip(cost(case, planar=planar), cost(case, planar=planar, threads=5), strict=True):
        np.testing.assert_array_equal(one, many)


@every_set
def test_logits_without_bounds_cost_what_they_should(instruction_set: str) -> None:
    """Far apart, infinitely low, not a number: each stays with its pixel."""
    inf, nan = np.inf, np.nan
    logits = np.array([[3e38, -3e38], [-3e38, 3e38], [0, -inf], [-inf, 0], [nan, 0], [0, nan], [1, 1]], np.float32)
    labels, dlosses = np.zeros((1, 1, 7), np.uint8), np.ones((1, 1, 7), np.float32)
    case = {"logits": logits[None, None], "labels": labels, "dlosses": dlosses}
    losses, right, dlogits = cost(case, planar=False, instruction_set=instruction_set)
    np.testing.assert_allclose(losses[0, 0], [0, inf, 0, inf, nan, nan, np.log(2)], rtol=1e-6)
    assert right[0, 0, [0, 1, 2, 3, 6]].tolist() == [True, False, True, False, True]
    np.testing.assert_allclose(
        dlogits[0, 0], [[0, 0], [-1, 1], [0, 0], [-1, 1], [nan, nan], [nan, nan], [-0.5, 0.5]], rtol=1e-6
    )


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
        with pytest.raises(ValueError, match="x: expected 4 axes, got 3"):
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


def test_a_gradient_of_weights_that_does_not_fit_is_refused() -> None:
    x, dy = np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4, 5), np.float32)
    assert _native.weight_gradient(x, dy, 3, 1, 1, 1).shape == (5, 3, 3, 3)
    with pytest.raises(ValueError, match="x: expected 4 axes, got 3"):
        _native.weight_gradient(x[0], dy, 3, 1, 1, 1)
    with pytest.raises(ValueError, match=r"dy: expected float32 \[2, 2, 2, 5\], got float32 \[2, 4, 4, 5\]"):
        _native.weight_gradient(x, dy, 3, 1, 1, 0)
    with pytest.raises(TypeError, match=r"x: expected float32 .* got int16"):
        _native.weight_gradient(x.astype(np.int16), dy, 3, 1, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight_gradient: an argument is out of range"):
        _native.weight_gradient(x, dy, 3, 1, 1, 1, threads=0)
    for steps in ((0, 1, 1, 1), (17, 1, 1, 8), (3, 0, 1, 1), (3, 1, 0, 1), (3, 1, 1, -1), (3, 1, 2, 0)):
        with pytest.raises(ValueError, match="weight_gradient: sizes contradict each other"):
            _native.weight_gradient(x, dy, *steps)
    with pytest.raises(ValueError, match="weight_gradient: sizes contradict each other"):
        _native.weight_gradient(x[:0], dy[:0], 3, 1, 1, 1)


def test_labels_must_be_classes_of_the_logits() -> None:
    logits, labels = np.zeros((2, 4, 6, 3), np.float32), np.full((2, 4, 6), 2, np.uint8)
    planes = np.ascontiguousarray(np.moveaxis(logits, 3, 1))
    _native.cross_entropy(logits, labels, False)
    _native.cross_entropy(planes, labels, True)
    labels[1, 3, 5] = 3
    with pytest.raises(ValueError, match="cross_entropy: an argument is out of range"):
        _native.cross_entropy(logits, labels, False)
    with pytest.raises(ValueError, match="cross_entropy_gradient: an argument is out of range"):
        _native.cross_entropy_gradient(logits, labels, np.zeros(labels.shape, np.float32), False, logits)
    for given, wanted in ((labels[:1], logits), (labels, planes), (labels.astype(np.int64), logits)):
        with pytest.raises((ValueError, TypeError), match=r"labels: expected uint8 \[2, [34], [46]\], got"):
            _native.cross_entropy(wanted, given, False)
    with pytest.raises(ValueError, match="logits: expected 4 axes, got 3"):
        _native.cross_entropy(logits[0], labels, False)
    with pytest.raises(ValueError, match="sizes contradict each other"):
        _native.cross_entropy(np.zeros((1, 1, 1, 257), np.float32), labels[:1, :1, :1], False)
