"""What is taken where nothing is said: what the command line names and the library uses.

They have a module of their own because the command line shows its help without loading the library.
"""

from __future__ import annotations

MODEL = "solov2-nano"  # ships with the package
CONF = 0.25  # lowest score of an instance
MAX_DET = 100  # most instances per frame, best first
CRF = {"h264": 24, "h265": 28, "av1": 35}  # about the same quality, each on its encoder's scale
TENSORRT_LANES = 2  # frames computed at once: one copies while the other computes
MAX_STALENESS = 0.5  # seconds that a frame of a live source may be old when it is begun
MAX_FAILURES = 30  # frames in a row that the command line lets fail before it gives up
STALL_SECONDS = 5.0  # without a picture, until the connection to a live source is given up
FIRST_RETRY_SECONDS = 10.0  # to go on trying to reach a live source before its first picture
SERVE = "127.0.0.1:8088"  # where the page is, for browsers of this machine only
PARTS = ("masks", "boxes", "labels", "tracks", "zones")  # of what is drawn: all but boxes, unless said otherwise
ALPHA = 0.45  # opacity of masks and classes
