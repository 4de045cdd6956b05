"""Objects from frame to frame: which is which, where they are, and what they pass."""

from solo_rt.track.tracker import LEAST_SCORE, Tracker

__all__ = ["LEAST_SCORE", "Tracker"]
