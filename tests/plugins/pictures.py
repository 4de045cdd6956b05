"""The CUDA kernels on pictures as functions on numpy arrays."""

from __future__ import annotations

import numpy as np
from devices import Array, Device

from solo_rt.gpu.kernels import (
    FORMATS,
    TYPES,
    GroupNorm,
    LabelMap,
    LabelStyle,
    LetterboxTarget,
    MaskGrid,
    OverlayStyle,
    Picture,
)
from solo_rt.types import Masks


class DevicePicture:
    """Planes as the CPU kernels take them, (rgb,) or (y, u, v), stored on a device in one of FORMATS.

    Rows are `pad` bytes longer than their pixels.
    """

    def __init__(self, device: Device, planes: tuple[Array, ...], pixel_format: str, pad: int = 0) -> None:
        self.format = pixel_format
        if pixel_format == "nv12":
            planes = (planes[0], np.stack(planes[1:], axis=2))
        height, width = planes[0].shape[:2]
        self.shapes = [plane.shape for plane in planes]
        rows = [plane.reshape(len(plane), -1) for plane in planes]
        self.buffers = [device.array(np.pad(plane, [(0, 0), (0, pad)], constant_values=77)) for plane in rows]
        pointers = [buffer.ptr for buffer in self.buffers] + [0] * (3 - len(planes))
        strides = [plane.shape[1] + pad for plane in rows] + [0] * (3 - len(planes))
        self.struct = Picture(tuple(pointers), tuple(strides), height, width, FORMATS[pixel_format])

    def planes(self) -> list[Array]:
        """Return the planes as the CPU kernels take them. Fails where padding was changed."""
        found = []
        for buffer, shape in zip(self.buffers, self.shapes, strict=True):
            rows = buffer.numpy()
            used = int(np.prod(shape[1:]))
            assert (rows[:, used:] == 77).all(), "padding was written"
            found.append(rows[:, :used].reshape(shape))
        if self.format == "nv12":
            return [found[0], found[1][..., 0], found[1][..., 1]]
        return found


def letterbox(
    device: Device,
    picture: DevicePicture,
    *,
    size: tuple[int, int],
    resized: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    bt709: bool = False,
    full_range: bool = False,
    type_name: str = "float32",
    offset: int = 0,
) -> Array:
    """Return the tensor [3, H, W] as float32."""
    target = LetterboxTarget(TYPES[type_name], *size, *resized, mean, std, bt709, full_range)
    memory = device.array(np.zeros((3, *size), type_name), offset)
    device.kernels.letterbox(picture.struct, target, memory.ptr, stream=device.stream)
    return memory.numpy().astype(np.float32)


class DeviceMasks:
    """Masks in device memory, dense on their grid, with room for two more that do not exist."""

    def __init__(self, device: Device, masks: Masks) -> None:
        count, (height, width) = len(masks), masks.grid_size
        dense = np.full((count + 2, height, width), 255, np.uint8)
        regions = np.tile(np.array([0, 0, width, height], np.int32), (count + 2, 1))
        regions[:count] = masks.regions
        for i, (x0, y0, x1, y1) in enumerate(masks.regions):
            dense[i] = 0
            dense[i, y0:y1, x0:x1] = masks.crop(i)
        self.buffers = [device.array(a) for a in (dense, regions, np.array([count], np.int32))]
        self.count, self.capacity = count, count + 2
        pointers = (buffer.ptr for buffer in self.buffers)
        self.struct = MaskGrid(*pointers, self.capacity, height, width, *masks.step)


def overlay(
    device: Device, picture: DevicePicture, masks: DeviceMasks, colours: Array, *, alpha: int, outline: int
) -> list[Array]:
    """Return the planes with the masks painted on them."""
    memory = device.array(np.concatenate([colours.reshape(-1, 3), np.zeros((2, 3), np.uint8)]))
    style = OverlayStyle(memory.ptr, alpha, outline)
    device.kernels.overlay(picture.struct, masks.struct, style, stream=device.stream)
    return picture.planes()


def overlay_labels(
    device: Device, picture: DevicePicture, labels: Array, colours: Array, alphas: Array, pad: int = 0
) -> list[Array]:
    """Return the planes with labels [h, w] painted on them; rows of labels are `pad` bytes longer."""
    cells, shades, opacities = (device.array(a) for a in (np.pad(labels, [(0, 0), (0, pad)]), colours, alphas))
    grid = LabelMap(cells.ptr, labels.shape[1] + pad, *labels.shape)
    device.kernels.overlay_labels(picture.struct, grid, LabelStyle(opacities.ptr, shades.ptr), stream=device.stream)
    return picture.planes()


def group_norm(
    device: Device,
    values: Array,
    gamma: Array,
    beta: Array,
    *,
    groups: int,
    relu: bool = True,
    epsilon: float = 1e-5,
    type_name: str = "float32",
    offset: int = 0,
) -> Array:
    """Return the normalised values [B, P, C] as float32."""
    batch, pixels, channels = values.shape
    sizes = GroupNorm(TYPES[type_name], batch, channels, pixels, groups, relu, epsilon)
    work, workspace = device.scratch(device.kernels.group_norm_workspace(sizes))
    memory = device.array(values.astype(type_name), offset)
    constants = [device.array(a.astype(np.float32)) for a in (gamma, beta)]
    device.kernels.group_norm(
        sizes, memory.ptr, memory.ptr, gamma=constants[0].ptr, beta=constants[1].ptr, workspace=workspace,
        stream=device.stream,
    )  # fmt: skip
    work.numpy()
    return memory.numpy().astype(np.float32)
