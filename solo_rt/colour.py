"""FFmpeg's colour tags in our words, and the one guess that is made where a file carries none."""

from __future__ import annotations

from solo_rt.types import ColourMatrix

# AVColorSpace: ITU-T H.273 matrix coefficients.
BT709, FCC, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 1, 4, 5, 6, 7, 9
MATRIX_OF_TAG: dict[int, ColourMatrix] = {BT709: "bt709", FCC: "bt601", BT470BG: "bt601", SMPTE170M: "bt601"}
TAG_OF_MATRIX: dict[ColourMatrix, int] = {"bt709": BT709, "bt601": SMPTE170M}

# AVColorRange.
LIMITED, FULL = 1, 2


def default_matrix(height: int) -> ColourMatrix:
    """Return the matrix of an untagged picture: BT.709 from 720 lines up, BT.601 below.

    Standard definition was defined with BT.601 and high definition with BT.709; players guess the same way, so that
    an untagged file looks here as it looks everywhere else.
    """
    return "bt709" if height >= 720 else "bt601"
