"""Where boxes will be: a Kalman filter of constant velocity, for all tracks at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

# In sizes of a box, which are the square roots of their areas.
_NOISE = 0.05**2  # variance of a box that was found; as in ByteTrack, whose unit is its height
_FIRST_SPEED = 2.0**2  # variance of the velocity of a new track, per second squared
_JOLT = 1.0  # variance that the velocity gains per second, ByteTrack's at 30 fps: less loses objects that speed up


class Motion:
    """Boxes that move. They are numbered from 0 in the order they were added; `keep` numbers them anew.

    Centre and size of a box are equally uncertain in units of its size, so that one covariance of place and velocity
    per box does for all four. Source: SORT (Bewley et al. 2016), with time in seconds in the place of frames.
    """

    def __init__(self) -> None:
        self._place = np.zeros((0, 4))  # x, y of the centre, width, height
        self._velocity = np.zeros((0, 4))  # per second
        self._covariance = np.zeros((3, 0))  # of place with itself, of place with velocity, of velocity with itself

    @property
    def boxes(self) -> Float64:
        """Return the boxes, `float64 [N, 4]` xyxy; always finite, and at least a pixel wide and high."""
        centre, half = self._place[:, :2], self._place[:, 2:] / 2
        return np.hstack([centre - half, centre + half])

    def add(self, boxes: NDArray[np.floating]) -> None:
        """Add boxes `[N, 4]` xyxy of which only the place is known."""
        self._place = np.vstack([self._place, _place(boxes)])
        self._velocity = np.vstack([self._velocity, np.zeros((len(boxes), 4))])
        self._covariance = np.hstack([self._covariance, _first_covariance(len(boxes))])

    def advance(self, seconds: float, *, hidden: NDArray[np.bool_]) -> None:
        """Move the boxes; those that are hidden keep their size, which nobody sees change."""
        self._velocity[hidden, 2:] = 0
        self._place += seconds * self._velocity
        self._place[:, 2:] = self._place[:, 2:].clip(1)
        place, both, velocity = self._covariance
        place += seconds * (2 * both + seconds * velocity) + _JOLT * seconds**3 / 3
        both += seconds * velocity + _JOLT * seconds**2 / 2
        velocity += _JOLT * seconds

    def stop(self) -> None:
        """Forget how the boxes moved."""
        self._velocity[:] = 0
        self._covariance = _first_covariance(len(self._place))

    def correct(self, which: NDArray[np.integer], boxes: NDArray[np.floating]) -> None:
        """Take note of where the boxes numbered `which` were found."""
        place, both, velocity = self._covariance[:, which]
        gain, gain_of_velocity = place / (place + _NOISE), both / (place + _NOISE)
        error = _place(boxes) - self._place[which]
        self._place[which] += gain[:, None] * error
        self._velocity[which] += gain_of_velocity[:, None] * error
        self._covariance[:, which] = (1 - gain) * place, (1 - gain) * both, velocity - gain_of_velocity * both

    def keep(self, which: NDArray[np.integer]) -> None:
        """Keep the boxes numbered `which`, in that order."""
        self._place, self._velocity = self._place[which], self._velocity[which]
        self._covariance = self._covariance[:, which]


def _place(boxes: NDArray[np.floating]) -> Float64:
    corners = boxes.astype(np.float64)
    return np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]).clip(1)])


def _first_covariance(n: int) -> Float64:
    return np.repeat([[_NOISE], [0.0], [_FIRST_SPEED]], n, axis=1)
