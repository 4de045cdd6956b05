"""A procedural video world with exact instance masks: the demo, the test bed and the training data.

Textured, shaded, rotating objects of seven shapes cross a panning textured background, change size, enter, leave
and occlude one another, under changing light, blur and sensor noise. `World(seed).render(i)` depends on nothing but
its arguments: frames can be drawn in any order, at any size, and the same seed shows the same scene at every size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.world.shapes import REACH, SHAPES

CLASSES = tuple(SHAPES)
Image = NDArray[np.float32]  # [H, W, 3] RGB, 0..255
MIN_VISIBLE = 0.0004  # of an object that shows less than this share of the picture, nobody asks for a mask
PAN = 1.3  # the background canvas is this much larger than the frame
TRAINING_SEEDS = 1_000_000  # worlds from here on are for training; evaluation and demos use smaller seeds


@dataclass(frozen=True, slots=True)
class Scene:
    """One frame and its truth."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    ids: NDArray[np.uint8]  # [H, W]; 0 is background, k belongs to class_ids[k - 1]: the visible part of each object
    class_ids: NDArray[np.int32]  # [N] index into CLASSES
    track_ids: NDArray[np.int32]  # [N] constant while an object lives


@dataclass(frozen=True, slots=True)
class Actor:
    """One object from entering to leaving. Lengths are in frame heights, time in 0..1 of its life."""

    track_id: int
    class_id: int
    start: NDArray[np.float64]  # xy, origin at the frame's centre
    end: NDArray[np.float64]
    sway: NDArray[np.float64]
    radius: float
    pulse: float  # relative change of size during life
    aspect: float
    angle: float
    turns: float
    depth: float
    colours: NDArray[np.float32]  # [2, 3] RGB 0..255
    texture: int
    texture_scale: float
    gloss: float

    def pose(self, life: float) -> tuple[float, float, float, float]:
        """Return centre x, y, radius and rotation (radians) at `life` in 0..1."""
        wave = np.sin(2 * np.pi * life)
        x, y = self.start + (self.end - self.start) * life + self.sway * np.sin(3 * np.pi * life)
        return float(x), float(y), self.radius * (1 + self.pulse * wave), self.angle + 2 * np.pi * self.turns * life


class World:
    """An endless seeded scene. `objects` is the number of slots; about three quarters are in view at any time."""

    def __init__(
        self, seed: int = 0, *, height: int = 720, width: int = 1280, frame_rate: float = 30.0, objects: int = 8
    ) -> None:
        if height < 1 or width < 1 or frame_rate <= 0 or not 0 <= objects <= 255:
            raise ValueError(
                f"world: expected positive size and rate and 0..255 objects, got {height}x{width}, {frame_rate} fps, "
                f"{objects} objects"
            )
        self.seed, self.height, self.width, self.frame_rate, self.objects = seed, height, width, frame_rate, objects
        rng = np.random.default_rng([seed, 0])
        self._periods = rng.uniform(4.0, 9.0, objects)
        self._phases = rng.uniform(0.0, 1.0, objects)
        self._light = rng.uniform(0.0, 2 * np.pi)  # direction the light comes from
        self._gain, self._flicker, self._flicker_rate = rng.uniform(0.7, 1.15), rng.uniform(0, 0.2), rng.uniform(0.1, 1)
        self._tint = rng.uniform(0.88, 1.12, 3).astype(np.float32)
        self._noise = rng.uniform(1.0, 7.0)  # standard deviation, grey levels
        self._blur, self._blur_rate = rng.uniform(0.0, 0.9), rng.uniform(0.1, 0.6)  # pixels at 256 lines
        self._pan = rng.uniform(-1, 1, 2), rng.uniform(0.02, 0.12, 2)
        self._grain = rng.standard_normal((256, 256), np.float32)  # surface texture and sensor noise
        self._canvas = _background(rng, height, width)
        self._vignette = _vignette(height, width, rng.uniform(0.0, 0.35))
        self._actor = lru_cache(maxsize=4 * objects + 1)(self._make_actor)

    def render(self, index: int) -> Scene:
        """Return frame `index` and its instance masks."""
        time = index / self.frame_rate
        image = self._pan_background(time)
        ids = np.zeros((self.height, self.width), np.uint8)
        actors = []
        for slot in range(self.objects):
            age = time / self._periods[slot] + self._phases[slot]
            actors.append((self._actor(slot, int(age // 1)), age % 1))
        actors.sort(key=lambda item: item[0].depth)
        for k, (actor, life) in enumerate(actors, 1):
            self._paint(image, ids, k, actor, life)
        image = self._expose(image, time, index)
        return _compact(image, ids, [actor for actor, _ in actors])

    def _make_actor(self, slot: int, generation: int) -> Actor:
        rng = np.random.default_rng([self.seed, 1, slot, generation])
        radius = float(np.exp(rng.uniform(np.log(0.075), np.log(0.24))))
        half = np.array([self.width / self.height, 1.0]) / 2 + radius * REACH
        entry = rng.uniform(0, 2 * np.pi)
        leave = entry + np.pi + rng.uniform(-0.9, 0.9)
        return Actor(
            track_id=slot + self.objects * generation + 1,
            class_id=int(rng.integers(len(CLASSES))),
            start=_on_rectangle(entry, half),
            end=_on_rectangle(leave, half),
            sway=rng.uniform(-0.12, 0.12, 2),
            radius=radius,
            pulse=float(rng.uniform(-0.35, 0.35)),
            aspect=float(rng.uniform(0.72, 1.0)),
            angle=float(rng.uniform(0, 2 * np.pi)),
            turns=float(rng.uniform(-1.2, 1.2)),
            depth=float(rng.uniform()),
            colours=_colours(rng, 2),
            texture=int(rng.integers(4)),
            texture_scale=float(rng.uniform(2.0, 5.0)),
            gloss=float(rng.uniform(0.0, 0.8)),
        )

    def _pan_background(self, time: float) -> Image:
        amplitude, rate = self._pan
        room = np.array(self._canvas.shape[1::-1]) - (self.width, self.height)
        x, y = (0.5 + 0.5 * amplitude * np.sin(2 * np.pi * rate * time)) * room
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(self._canvas, shift, (self.width, self.height), flags=flags))

    def _paint(self, image: Image, ids: NDArray[np.uint8], k: int, actor: Actor, life: float) -> None:
        """Draw one object with its shadow; `k` is written to the pixels whose centres it covers."""
        h, w = self.height, self.width
        x, y, radius, angle = actor.pose(life)
        cx, cy, r = w / 2 + x * h, h / 2 + y * h, max(radius * h, 1e-3)
        x0, y0 = max(0, int(cx - r * REACH)), max(0, int(cy - r * REACH))
        x1, y1 = min(w, int(cx + r * REACH) + 2), min(h, int(cy + r * REACH) + 2)
        if x0 >= x1 or y0 >= y1:
            return
        gx = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - cx) / r)[None, :]
        gy = ((np.arange(y0, y1, dtype=np.float32) + 0.5 - cy) / r)[:, None]
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v = gx * cos + gy * sin, (gy * cos - gx * sin) / np.float32(actor.aspect)
        distance = SHAPES[CLASSES[actor.class_id]](u, v) * np.float32(r)  # pixels, roughly
        inside = distance < 0
        if not inside.any():
            return
        alpha = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
        self._cast_shadow(image, alpha, x0, y0, r)
        colour = self._surface(actor, u, v, gx, gy, distance / np.float32(r))
        region = image[y0:y1, x0:x1]
        region += alpha * (colour - region)
        ids[y0:y1, x0:x1][inside] = k

    def _cast_shadow(self, image: Image, alpha: Image, x0: int, y0: int, r: float) -> None:
        """Darken what lies behind, away from the light."""
        h, w = alpha.shape[:2]
        sx, sy = x0 - round(0.18 * r * np.cos(self._light)), y0 - round(0.18 * r * np.sin(self._light))
        ax, ay = max(0, -sx), max(0, -sy)
        bx, by = min(w, self.width - sx), min(h, self.height - sy)
        if ax < bx and ay < by:
            image[sy + ay : sy + by, sx + ax : sx + bx] *= 1 - np.float32(0.4) * alpha[ay:by, ax:bx]

    def _surface(self, actor: Actor, u: Image, v: Image, gx: Image, gy: Image, depth: Image) -> Image:
        """Return the object's colour `float32 [h, w, 3]`: a two-colour texture under directional light."""
        s = np.float32(actor.texture_scale)
        grain = self._grain[(v * 40).astype(np.int32) & 255, (u * 40).astype(np.int32) & 255]
        match actor.texture:
            case 0:
                blend = np.float32(0.12) * grain
            case 1:
                blend = np.float32(0.5) + np.float32(0.6) * np.sin(s * 2 * u)
            case 2:
                blend = ((np.floor(u * s) + np.floor(v * s)) % 2).astype(np.float32)
            case _:
                blend = (np.hypot((u * s) % 1 - 0.5, (v * s) % 1 - 0.5) < 0.3).astype(np.float32)
        blend = np.clip(blend + np.float32(0.05) * grain, 0, 1)[..., None]
        lx, ly = np.float32(np.cos(self._light)), np.float32(np.sin(self._light))
        shade = np.float32(0.86) + np.float32(0.22) * (gx * lx + gy * ly)
        shade = shade * np.clip(np.float32(0.72) - 2 * depth, 0.72, 1)  # darker rim
        glare = np.float32(90 * actor.gloss) * np.exp(-12 * ((gx - 0.4 * lx) ** 2 + (gy - 0.4 * ly) ** 2))
        colour = actor.colours[0] + blend * (actor.colours[1] - actor.colours[0])
        return np.asarray(colour * shade[..., None] + glare[..., None], np.float32)

    def _expose(self, image: Image, time: float, index: int) -> Image:
        """Apply light, lens and sensor."""
        gain = self._gain * (1 + self._flicker * np.sin(2 * np.pi * self._flicker_rate * time))
        image *= self._vignette
        image *= np.float32(gain) * self._tint
        sigma = self._blur * (0.5 + 0.5 * np.sin(2 * np.pi * self._blur_rate * time)) * self.height / 256
        if sigma > 0.2:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
        # One frame of noise is a randomly shifted tiling of the grain: as random as the eye can tell, and cheap.
        rng = np.random.default_rng([self.seed, 2, index])
        rows = rng.integers(0, 256, self.height)[:, None]
        columns = (np.arange(self.width) + rng.integers(256))[None, :] & 255
        image += np.float32(self._noise) * self._grain[rows, (columns + 7 * rows) & 255][..., None]
        return image


def _compact(image: Image, ids: NDArray[np.uint8], actors: list[Actor]) -> Scene:
    """Return the scene with hidden objects removed and the others numbered 1..N, back to front."""
    present = np.bincount(ids.ravel(), minlength=256)[1 : len(actors) + 1] > 0
    lookup = np.zeros(256, np.uint8)
    lookup[1 : len(actors) + 1][present] = np.arange(1, present.sum() + 1)
    seen = [actor for actor, visible in zip(actors, present, strict=True) if visible]
    return Scene(
        rgb=np.clip(image, 0, 255).astype(np.uint8),
        ids=lookup[ids],
        class_ids=np.array([actor.class_id for actor in seen], np.int32),
        track_ids=np.array([actor.track_id for actor in seen], np.int32),
    )


def _on_rectangle(angle: float, half: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point where the ray at `angle` leaves the rectangle of half sizes `half`."""
    ray = np.array([np.cos(angle), np.sin(angle)])
    return np.asarray(ray * np.min(half / np.maximum(np.abs(ray), 1e-9)))


def _colours(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    hsv = np.stack([rng.uniform(0, 360, n), rng.uniform(0.15, 0.95, n), rng.uniform(0.3, 1.0, n)], axis=-1)
    return np.asarray(cv2.cvtColor(hsv[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255)


def _background(rng: np.random.Generator, height: int, width: int) -> Image:
    """Return the canvas the camera pans over: smooth colour, cloudy noise and one of four patterns."""
    h, w = int(height * PAN) + 1, int(width * PAN) + 1
    size = (w, h)
    corners = _colours(rng, 4).reshape(2, 2, 3) * np.float32(0.8)
    canvas = cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR)
    clouds = np.zeros((h, w), np.float32)
    for octave in (4, 10, 26, 64):
        cells = rng.standard_normal((octave, octave * 2), np.float32) * np.float32(26 / octave**0.35)
        clouds += cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC)
    canvas += np.float32(rng.uniform(0.3, 1.1)) * clouds[..., None]
    angle, scale = rng.uniform(0, np.pi), rng.uniform(5, 22)
    y = ((np.arange(h, dtype=np.float32) / height)[:, None] * np.float32(scale)).astype(np.float32)
    x = ((np.arange(w, dtype=np.float32) / height)[None, :] * np.float32(scale)).astype(np.float32)
    u, v = (
        x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)),
        y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle)),
    )
    strength = np.float32(rng.uniform(8, 34))
    match int(rng.integers(4)):
        case 0:  # planks
            canvas += (strength * np.sin(2 * u))[..., None]
        case 1:  # tiles with joints
            joint = (np.minimum((u % 1), (v % 1)) < 0.07).astype(np.float32)
            canvas -= (2 * strength * joint)[..., None]
        case 2:  # chequered floor
            canvas += (strength * ((np.floor(u) + np.floor(v)) % 2))[..., None]
        case _:  # foliage: thresholded clouds
            canvas += (strength * np.sign(clouds))[..., None]
    return np.clip(canvas, 5, 250, dtype=np.float32)


def _vignette(height: int, width: int, strength: float) -> Image:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return np.asarray(1 - np.float32(strength) * (x * x + y * y) / 2, np.float32)[..., None]
