"""Small synthetic data sets on disk, laid out as the real ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from solo_rt.train.data.semantic.palettes import voc_palette


def write_palette_png(path: Path, ids: np.ndarray, *, bits: int = 8) -> None:
    """Write ids as a PNG with VOC's palette, as VOC's masks are: the colours say nothing to a reader of grey values."""
    height, width = ids.shape
    places = ids.astype(np.uint8)[..., None] >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(places.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    colours = np.array(voc_palette(1 << bits), np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)
    chunks = {b"IHDR": header, b"PLTE": colours, b"IDAT": zlib.compress(lines), b"IEND": b""}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks.items()
        )
    )


def write_png(path: Path, values: np.ndarray) -> None:
    """Write a grey or RGB picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values if values.ndim == 2 else np.ascontiguousarray(values[..., ::-1]))


def write_sbd_mat(path: Path, labels: np.ndarray, *, compressed: bool = True) -> None:
    """Write `GTcls` of SBD: a struct whose fields are a cell, the labels and a row of the classes present."""

    def element(kind: int, data: bytes) -> bytes:
        if 0 < len(data) <= 4:
            return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    def matrix(kind: int, shape: tuple[int, ...], content: bytes, name: bytes = b"") -> bytes:
        flags = element(6, struct.pack("<II", kind, 0))
        return element(14, flags + element(5, struct.pack("<ii", *shape)) + element(1, name) + content)

    present = np.setdiff1d(labels, [0])
    fields = {
        b"Boundaries": matrix(1, (1, 1), matrix(6, (1, 1), element(9, struct.pack("<d", 1.0)))),
        b"Segmentation": matrix(9, labels.shape, element(2, labels.astype(np.uint8).T.tobytes())),
        b"CategoriesPresent": matrix(9, (1, len(present)), element(2, present.astype(np.uint8).tobytes())),
    }
    names = element(5, struct.pack("<i", 32)) + element(1, b"".join(name.ljust(32, b"\0") for name in fields))
    body = matrix(2, (1, 1), names + b"".join(fields.values()), b"GTcls")
    if compressed:
        packed = zlib.compress(body)
        body = struct.pack("<II", 15, len(packed)) + packed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + body)


def write_cityscapes(
    root: Path, names: list[str], labels: list[np.ndarray], *, split: str = "val", kind: str = "labelIds"
) -> None:
    """Write frames CITY_SEQ_FRAME with ids, in the folder of their city; the pictures show the ids."""
    for name, ids in zip(names, labels, strict=True):
        city = name.split("_")[0]
        picture = np.repeat(ids[..., None], 3, 2).astype(np.uint8)
        write_png(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture)
        write_png(root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png", ids.astype(np.uint8))


def write_voc(root: Path, lists: dict[str, list[str]], labels: np.ndarray) -> None:
    """Write VOCdevkit/VOC2012 with the same labels for every picture of `lists`, by split."""
    voc = root / "VOCdevkit" / "VOC2012"
    for split, names in lists.items():
        path = voc / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")
        for name in names:
            write_png(voc / "JPEGImages" / f"{name}.jpg", np.zeros((*labels.shape, 3), np.uint8))
            write_palette_png(voc / "SegmentationClass" / f"{name}.png", labels)


def write_sbd(root: Path, lists: dict[str, list[str]], labels: np.ndarray) -> None:
    """Write benchmark_RELEASE/dataset with the same labels for every picture of `lists`, by split."""
    sbd = root / "benchmark_RELEASE" / "dataset"
    for split, names in lists.items():
        sbd.mkdir(parents=True, exist_ok=True)
        (sbd / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            write_png(sbd / "img" / f"{name}.jpg", np.zeros((*labels.shape, 3), np.uint8))
            write_sbd_mat(sbd / "cls" / f"{name}.mat", labels)
