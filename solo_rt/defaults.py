"""What is taken where nothing is said: numbers that the command line names and the library uses.

They have a module of their own because the command line shows its help without loading the library.
"""

from __future__ import annotations

MODEL = "solov2-nano"  # ships with the package
CONF = 0.25  # lowest score of an instance
MAX_DET = 100  # most instances per frame, best first
TENSORRT_LANES = 2  # frames computed at once: one copies while the other computes
