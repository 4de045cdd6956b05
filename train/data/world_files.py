"""The procedural world written to disk: a COCO-format data set and sample videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from solo_rt.errors import UsageError
from solo_rt.train.data.world import CLASSES, Scene, World
from solo_rt.train.data.world_dataset import MIN_VISIBLE

OnImage = Callable[[int, int], None]


def write_coco(
    folder: Path,
    *,
    images: int,
    seed: int = 0,
    size: tuple[int, int] = (360, 640),
    on_image: OnImage = lambda done, total: None,
) -> Path:
    """Write `images` pictures, each of a world of its own, to `folder/images` and return `folder/instances.json`.

    World number i has seed `seed + i`. Objects that show less than 0.04 % of the picture are marked as crowd, which
    COCO's metric neither asks for nor punishes. Raises: UsageError when the folder exists already.
    """
    try:
        (folder / "images").mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder / 'images'}: {error.strerror}; choose a new folder") from error
    height, width = size
    records, annotations = [], []
    for i in range(images):
        scene = World(seed + i, height=height, width=width).render(index=7 * i)
        name = f"{seed + i:06d}.jpg"
        cv2.imwrite(str(folder / "images" / name), scene.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        records.append({"id": i + 1, "file_name": name, "height": height, "width": width})
        annotations += [a | {"id": len(annotations) + n} for n, a in enumerate(_annotate(scene, image_id=i + 1), 1)]
        on_image(i + 1, images)
    path = folder / "instances.json"
    record = {
        "info": {"description": f"procedural world of solo-rt, seeds {seed} to {seed + images - 1}"},
        "images": records,
        "annotations": annotations,
        "categories": [{"id": c, "name": name} for c, name in enumerate(CLASSES, 1)],
    }
    path.write_text(json.dumps(record))
    return path


def _annotate(scene: Scene, *, image_id: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for k, class_id in enumerate(scene.class_ids, 1):
        mask = np.asfortranarray(scene.ids == k, np.uint8)
        rle = coco_mask.encode(mask)
        area = int(mask.sum())
        found.append(
            {
                "image_id": image_id,
                "category_id": int(class_id) + 1,
                "segmentation": {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")},
                "area": area,
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "iscrowd": int(area < MIN_VISIBLE * mask.size),
            }
        )
    return found
