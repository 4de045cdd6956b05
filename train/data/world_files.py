"""The procedural world written to disk: sample videos and a COCO-format data set."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from solo_rt.errors import UsageError
from solo_rt.progress import OnProgress
from solo_rt.result import Result
from solo_rt.sink import open_sink
from solo_rt.source import open_source
from solo_rt.train.data.instances.world import annotate
from solo_rt.train.data.pictures import write_picture
from solo_rt.types import Instances
from solo_rt.world import CLASSES, Scene, World

VIDEOS = ("cam0.avi", "cam0.mp4")


def write_videos(
    folder: Path,
    *,
    seed: int,
    size: tuple[int, int],
    frames: int,
    overwrite: bool = False,
    on_image: OnProgress = lambda done, total: None,
) -> list[Path]:
    """Write the same `frames` pictures to `cam0.avi` (Motion JPEG) and `cam0.mp4` (H.264), and return their paths.

    Those that are there already, which may be anybody's, stay as they are unless `overwrite`, and are not returned.
    Raises: UsageError when the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror}; choose another folder") from error
    paths = [path for path in (folder / name for name in VIDEOS) if overwrite or not path.exists()]
    if not paths:
        return []
    with ExitStack() as stack:
        uri = f"test://?seed={seed}&size={size[1]}x{size[0]}&frames={frames}"
        source = stack.enter_context(open_source(uri))
        sinks = [stack.enter_context(open_sink(str(path), info=source.info)) for path in paths]
        for done, frame in enumerate(source, 1):
            result = Result(frame, Instances.none(size), CLASSES)
            for sink in sinks:
                sink.write(result)
            on_image(done, frames)
    return paths


def write_coco(
    folder: Path,
    *,
    images: int,
    seed: int = 0,
    size: tuple[int, int] = (360, 640),
    on_image: OnProgress = lambda done, total: None,
) -> Path:
    """Write `images` pictures, each of a world of its own, to `folder/images` and return `folder/instances.json`.

    World number i has seed `seed + i`. Objects that show less than 0.04 % of the picture are marked as crowd, which
    COCO's metric neither asks for nor punishes.
    Raises: UsageError when the folder exists already; DatasetError when a picture cannot be written.
    """
    try:
        (folder / "images").mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder / 'images'}: {error.strerror}; choose a new folder") from error
    height, width = size
    records: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for i in range(images):
        scene = World(seed + i, height=height, width=width).render(index=7 * i)
        name = f"{seed + i:06d}.jpg"
        write_picture(folder / "images" / name, scene.rgb)
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
    size = (scene.ids.shape[0], scene.ids.shape[1])
    found: list[dict[str, object]] = []
    for item in annotate(scene):
        x0, y0, x1, y1 = item.box
        found.append(
            {
                "image_id": image_id,
                "category_id": item.label + 1,
                "segmentation": {"size": list(size), "counts": item.segmentation.rle(size)["counts"].decode("ascii")},
                "area": int(item.area),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": int(item.crowd),
            }
        )
    return found
