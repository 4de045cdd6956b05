"""How fast training pictures are loaded: images per second of one worker, and what it spends them on.

    python tests/bench/loading.py DATA_URI [--long 768] [--shorts 512 ... 352] [--pictures 64] [--repeats 3]

DATA_URI is that of an instance data set, such as coco:/data/coco or casia:/data/casia-spt. One worker is one process
with one thread, so N workers load N times as many as far as cores, memory and disk go. The files are in the page cache:
this is the time of the processor. `masks, whole` is what the mask targets cost when every mask is made as large as its
picture, resized, mirrored, padded and shrunk, as in the released code; `masks` is what they cost here. Each figure is
the least of several runs.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from stopwatch import least_ms

from solo_rt.train.data.instances.augment import Scales
from solo_rt.train.data.instances.placement import Axis
from solo_rt.train.data.instances.training import InstanceTrainingSet, make_sample, open_instance_training

BATCH = 4


def masks_slowly(data: InstanceTrainingSet, index: int, size: tuple[int, int]) -> None:
    """Make the mask targets of picture `index` at `size` from whole masks."""
    picture = data.data[index]
    padded_size = [-(-side // 32) * 32 for side in size]
    for item in filter(data.data.trained, picture.annotations):
        mask = np.ascontiguousarray(item.segmentation.cut_out(picture.size).dense(picture.size))
        resized = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
        padded = np.zeros(padded_size, np.uint8)
        padded[: size[0], : size[1]] = resized[:, ::-1]
        ys, xs = np.nonzero(padded)
        ys.mean(), xs.mean()
        for stride in (4, 8, 16):
            cv2.resize(padded, (padded_size[1] // stride, padded_size[0] // stride), interpolation=cv2.INTER_LINEAR)


def masks_as_shipped(data: InstanceTrainingSet, index: int, size: tuple[int, int]) -> None:
    """Make the mask targets of picture `index` at `size`."""
    picture = data.data[index]
    rows, columns = (Axis.make(side, new) for side, new in zip(picture.size, size, strict=True))
    objects = [item for item in picture.annotations if data.data.trained(item)]
    make_sample(np.zeros((0, 0, 3), np.uint8), objects, picture.size, rows, columns, mirrored=False)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--long", type=int, default=768)
    parser.add_argument("--shorts", type=int, nargs="+", default=[512, 480, 448, 416, 384, 352])
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    data = open_instance_training(
        options.data, scales=Scales(options.long, tuple(options.shorts)), images=options.pictures
    )
    n = len(data)
    rngs = lambda: map(np.random.default_rng, range(n))  # noqa: E731
    samples = [data.sample(i, rng) for i, rng in enumerate(rngs())]
    groups = [samples[i : i + BATCH] for i in range(0, n, BATCH)]
    sizes = [sample.image.shape[:2] for sample in samples]
    images = [data.data[i].load() for i in range(n)]
    parts = {
        "read and decode": lambda: [data.data[i].load() for i in range(n)],
        "resize": lambda: [cv2.resize(image, size[::-1]) for image, size in zip(images, sizes, strict=True)],
        "masks": lambda: [masks_as_shipped(data, i, size) for i, size in enumerate(sizes)],
        "masks, whole": lambda: [masks_slowly(data, i, size) for i, size in enumerate(sizes)],
        "collate": lambda: [data.collate(group) for group in groups],
        "sample": lambda: [data.sample(i, rng) for i, rng in enumerate(rngs())],
    }
    times = {name: least_ms(part, options.repeats) / n for name, part in parts.items()}
    mean, objects = np.mean(sizes, axis=0), np.mean([len(sample.labels) for sample in samples])
    print(f"{n} pictures, {objects:.1f} objects each, {mean[0]:.0f}x{mean[1]:.0f} on average")
    for name, time in times.items():
        print(f"{name:16s} {time:7.2f} ms per picture")
    print(f"{'loaded':16s} {1e3 / (times['sample'] + times['collate']):7.1f} images/s per worker")


if __name__ == "__main__":
    main()
