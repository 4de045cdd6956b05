"""Types of the native module; the source is plugins/python."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Pixels = Float32 | NDArray[np.int16]  # bfloat16 as int16

ALL_FLUSHES: int

def set_flushes(wanted: int) -> int: ...
def instruction_sets() -> list[str]: ...
def solov2_decode(
    scores: Float32,
    kernels: Float32,
    features: Float32,
    cell_strides: Int32,
    score_threshold: float,
    mask_threshold: float,
    nms_pre: int,
    linear: bool,
    sigma: float,
    update_threshold: float,
    max_instances: int,
    threads: int,
    instruction_set: str = "best",
) -> tuple[Float32, Int32, Int32, Int32, Int64, UInt8]: ...
def matrix_nms(
    bits: NDArray[np.uint64],
    areas: Int32,
    scores: Float32,
    class_ids: Int32,
    linear: bool,
    sigma: float,
    instruction_set: str = "best",
) -> Float32: ...
def channels_first(maps: Float32) -> Float32: ...
def enlarge_maps(
    maps: Float32, rows: Int32, between: tuple[int, int], grid: tuple[int, int], threads: int = 1
) -> Float32: ...
def binarise_products(
    soft: Float32, first: Int32, second: Int32 | None, threshold: float, threads: int = 1
) -> tuple[NDArray[np.uint64], Int32, Float32]: ...
def crop_products(
    soft: Float32,
    first: Int32,
    second: Int32 | None,
    threshold: float,
    regions: Int32,
    offsets: Int64,
    threads: int = 1,
) -> UInt8: ...
def mask_regions(bits: NDArray[np.uint64], rows: Int32, grid: tuple[int, int]) -> Int32: ...
def mask_boxes(
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    grid_size: tuple[int, int],
    step: tuple[float, float],
    frame_size: tuple[int, int],
    threads: int = 1,
) -> Float32: ...
def encode_masks(
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    grid_size: tuple[int, int],
    step: tuple[float, float],
    frame_size: tuple[int, int],
    threads: int = 1,
) -> list[str]: ...
def fill_mask(
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    grid_size: tuple[int, int],
    step: tuple[float, float],
    index: int,
    out: UInt8,
    origin: tuple[int, int] = (0, 0),
) -> None: ...
def refine_masks(
    planes: tuple[UInt8, ...],
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    grid_size: tuple[int, int],
    step: tuple[float, float],
) -> tuple[UInt8, Int64, Int32]: ...
def letterbox(
    planes: tuple[UInt8, ...],
    bt709: bool,
    full_range: bool,
    resized: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    out: Float32,
) -> None: ...
def yuv420_to_rgb(y: UInt8, u: UInt8, v: UInt8, bt709: bool, full_range: bool) -> UInt8: ...
def argmax(logits: Float32, size: tuple[int, int], threads: int = 1) -> UInt8: ...
def enlarged_argmax(
    logits: Float32, full_size: tuple[int, int], corners: bool, size: tuple[int, int], threads: int = 1
) -> UInt8: ...
def fill_labels(labels: UInt8, frame_size: tuple[int, int]) -> UInt8: ...
def count_labels(labels: UInt8, frame_size: tuple[int, int]) -> Int64: ...
def overlay_labels(
    planes: tuple[UInt8, ...],
    labels: UInt8,
    colours: UInt8,
    alphas: NDArray[np.uint16],
    out: tuple[UInt8, ...],
    threads: int = 1,
) -> None: ...
def overlay(
    planes: tuple[UInt8, ...],
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    grid_size: tuple[int, int],
    step: tuple[float, float],
    colours: UInt8,
    alpha: float,
    outline: int,
) -> None: ...
def mask_overlap(
    data: UInt8,
    offsets: Int64,
    regions: Int32,
    shifts: Int32,
    other_data: UInt8,
    other_offsets: Int64,
    other_regions: Int32,
    grid_size: tuple[int, int],
) -> Float32: ...
def assign(profits: NDArray[np.float64]) -> Int32: ...
def batch_norm(
    x: Pixels,
    gamma: Float32,
    beta: Float32,
    epsilon: float,
    activation: Literal["none", "relu", "prelu"],
    slopes: Float32 | None,
    y: Pixels,
    threads: int = 1,
    instruction_set: str = "best",
) -> tuple[Float32, Float32]: ...
def batch_norm_gradient(
    x: Pixels,
    dy: Pixels,
    gamma: Float32,
    beta: Float32,
    mean: Float32,
    variance: Float32,
    epsilon: float,
    activation: Literal["none", "relu", "prelu"],
    slopes: Float32 | None,
    dx: Pixels,
    threads: int = 1,
    instruction_set: str = "best",
) -> tuple[Float32, Float32, Float32]: ...
def prelu(x: Pixels, slopes: Float32, y: Pixels, threads: int = 1, instruction_set: str = "best") -> None: ...
def prelu_gradient(
    x: Pixels, dy: Pixels, slopes: Float32, dx: Pixels, threads: int = 1, instruction_set: str = "best"
) -> Float32: ...
def depthwise_conv(
    x: Pixels,
    weights: Float32,
    stride: int,
    dilation: int,
    padding: int,
    y: Pixels,
    threads: int = 1,
    instruction_set: str = "best",
) -> None: ...
def depthwise_conv_gradient(
    x: Pixels,
    dy: Pixels,
    weights: Float32,
    stride: int,
    dilation: int,
    padding: int,
    dx: Pixels,
    threads: int = 1,
    instruction_set: str = "best",
) -> Float32: ...
def weight_gradient(
    x: Float32,
    dy: Float32,
    kernel: int,
    stride: int,
    dilation: int,
    padding: int,
    threads: int = 1,
    instruction_set: str = "best",
) -> Float32: ...
def cross_entropy(
    logits: Pixels, labels: UInt8, planar: bool, threads: int = 1, instruction_set: str = "best"
) -> tuple[Float32, NDArray[np.bool_]]: ...
def cross_entropy_gradient(
    logits: Pixels,
    labels: UInt8,
    dlosses: Float32,
    planar: bool,
    dlogits: Pixels,
    threads: int = 1,
    instruction_set: str = "best",
) -> None: ...
