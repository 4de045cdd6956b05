"""`Result`: what the pipeline hands out per frame, and the forms in which others take it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError
from solo_rt.events import Event, ZoneState
from solo_rt.render import DEFAULT_STYLE, Style, render, render_semantic
from solo_rt.render.zones import draw_zones
from solo_rt.types import Found, Frame, Instances, SemanticMap, Trail, UInt8

if TYPE_CHECKING:
    from supervision import Detections

SHOWN_WIDTH = 640  # pixels of the picture in a notebook, at most


@dataclass(frozen=True, slots=True)
class Result:
    """What the pipeline hands out per frame."""

    frame: Frame
    found: Found
    classes: tuple[str, ...]  # names by class id
    _: KW_ONLY
    rendered: Frame | None = None  # the annotated picture; only when a sink or the caller asked for it
    stage_seconds: Mapping[str, float] = field(default_factory=dict)  # time in each stage, by stage name
    source: str = ""  # name of the source; empty for one that was given opened, without a name
    trails: tuple[Trail, ...] = ()  # with tracking: of each instance, where it was lately
    zones: tuple[ZoneState, ...] = ()  # with zones: each of them after this frame
    events: tuple[Event, ...] = ()  # with zones: what happened in this frame
    palette: tuple[Rgb, ...] = ()  # of a semantic model: the colours of its classes by id
    unpainted: tuple[int, ...] = ()  # of a semantic model: classes that are left as they are in pictures

    @property
    def instances(self) -> Instances:
        """What an instance model found; nothing where the model is a semantic one."""
        return self.found if isinstance(self.found, Instances) else Instances.none(self.found.frame_size)

    @property
    def semantic(self) -> SemanticMap | None:
        """What a semantic model found."""
        return self.found if isinstance(self.found, SemanticMap) else None

    def to_record(self) -> dict[str, object]:
        """Return the result as plain JSON values: index, pts, time, size and what was found.

        That is `instances`, one entry each with its mask as RLE, or `classes`, one entry for every class that occurs
        with its share of the frame's pixels, largest first.
        """
        frame = self.frame
        return {
            "frame": frame.index,
            "pts": frame.pts,
            "time_base": [frame.time_base.numerator, frame.time_base.denominator],
            "time_s": round(frame.time_s, 6),
            "size": list(self.found.frame_size),
            **({"name": frame.name} if frame.name else {}),
            **self._found(),
            **({"events": [event.to_record(self.classes) for event in self.events]} if self.events else {}),
        }

    def to_coco(self, image_id: int | None = None) -> list[dict[str, object]]:
        """Return the instances as COCO has results, masks as RLE: what pycocotools' `loadRes` takes.

        `image_id` is, unless given, that of the frame, which has one where all pictures of its source are called by
        numbers, as COCO's are, or else its index; `category_id` is the class id + 1; `bbox` is left, top, width, height
        in pixels. Tracked objects have a `track_id` as well, which readers of COCO leave alone.
        """
        named = self.frame.index if self.frame.image_id is None else self.frame.image_id
        found = self.instances
        tracks = [{}] * len(found) if found.track_ids is None else [{"track_id": i} for i in found.track_ids.tolist()]
        return [
            {
                "image_id": named if image_id is None else image_id,
                "category_id": int(class_id) + 1,
                "segmentation": rle,
                "score": round(float(score), 5),
                "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
                **track,
            }
            for class_id, score, (x0, y0, x1, y1), rle, track in zip(
                found.class_ids, found.scores, found.boxes, found.rles(), tracks, strict=True
            )
        ]

    def to_supervision(self, *, masks: bool = True) -> Detections:
        """Return the instances as `supervision.Detections`, tracks and class names included.

        With `masks` they are `bool [N, H, W]` at frame size, which takes N bytes for every pixel of the frame.
        Raises: UsageError where supervision is not installed, or for the pixels of a semantic model.
        """
        if self.semantic is not None:
            raise UsageError("to_supervision: expected instances, got the classes of pixels; use `semantic.dense()`")
        try:
            from supervision import Detections
        except ImportError as error:
            raise UsageError("to_supervision needs supervision; pip install supervision") from error
        found, tracks = self.instances, self.instances.track_ids
        dense = [found.dense(i) for i in range(len(found) if masks else 0)]
        return Detections(
            xyxy=found.boxes.copy(),
            mask=np.stack(dense) if dense else None,
            confidence=found.scores.copy(),
            class_id=found.class_ids.astype(np.int64),
            tracker_id=None if tracks is None else tracks.astype(np.int64),
            data={"class_name": np.array([self.classes[i] for i in found.class_ids], dtype=np.str_)},
        )

    def draw(self, style: Style = DEFAULT_STYLE) -> Frame:
        """Return the frame with what was found on it, in its own pixel format. Raises: UsageError if it is on a GPU."""
        if isinstance(self.found, SemanticMap):
            bare = self.unpainted if style.masks else range(len(self.classes))
            drawn = render_semantic(
                self.frame, self.found, self.classes, palette=self.palette, unpainted=bare, style=style
            )
        else:
            drawn = render(self.frame, self.found, self.classes, style=style, trails=self.trails)
        if style.zones:
            draw_zones(drawn, self.zones)
        return drawn

    def plot(self, style: Style = DEFAULT_STYLE) -> UInt8:
        """Return the annotated picture as `uint8 [H, W, 3]` RGB, for matplotlib and notebooks. Raises: as `draw`."""
        return self.draw(style).rgb()

    def _repr_html_(self) -> str:
        """Return what a notebook shows of it: the annotated picture, and a row for every instance or class."""
        import cv2

        picture = self.plot()
        scale = min(1.0, SHOWN_WIDTH / picture.shape[1])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        rows = [
            [escape(str(entry.get(name, ""))) for name in ("class", "track_id", "score", "share")]
            for entry in next(iter(self._found().values()))
        ]
        table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        title = escape(" ".join(filter(None, [self.source, f"frame {self.frame.index}, {self.frame.time_s:.2f} s"])))
        return (
            f'<img src="data:image/jpeg;base64,{b64encode(jpeg.tobytes()).decode()}" alt="{title}"><p>{title}</p>'
            f"<table><tr><th>class</th><th>track</th><th>score</th><th>share</th></tr>{table}</table>"
        )

    def _found(self) -> dict[str, list[dict[str, object]]]:
        if isinstance(self.found, SemanticMap):
            return {"classes": self._shares(self.found)}
        return {"instances": self._instances(self.found)}

    def _shares(self, semantic: SemanticMap) -> list[dict[str, object]]:
        return [
            {"class_id": i, "class": self.classes[i], "share": round(share, 6)}
            for i, share in semantic.shares().items()
        ]

    def _instances(self, found: Instances) -> list[dict[str, object]]:
        rles = found.rles()
        entries: list[dict[str, object]] = []
        for i in range(len(found)):
            entry: dict[str, object] = {
                "class_id": int(found.class_ids[i]),
                "class": self.classes[found.class_ids[i]],
                "score": round(float(found.scores[i]), 5),
                "box": [float(v) for v in found.boxes[i]],
                "rle": rles[i],
            }
            if found.track_ids is not None:
                entry["track_id"] = int(found.track_ids[i])
            entries.append(entry)
        return entries


def to_json(result: Result | None) -> str:
    """Return a result as a JSON object; nothing is the empty text."""
    return "" if result is None else json.dumps(result.to_record(), allow_nan=False)
