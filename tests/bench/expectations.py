"""What kernels should take on cards that have not been measured, in microseconds: to be proved wrong by the bench.

Kernels that move pictures and maps should reach 70 to 90 % of the bandwidth of a large copy, plus the gap between two
nodes of a graph. The others were reasoned out from the instructions of their inner loops. Dynamic convolution, at 128 x
128 to a block: on an H200 its limits are shared memory (LDSM 192 clocks for 16 channels, and the epilogue), and L2, at
64 FLOP a byte and about 5.5 TB/s; on a 4090 its tensor cores alone; on an AGX Orin DRAM, as the features do not stay
in 4 MB of L2; on a V100 there are no asynchronous copies. Matrix NMS waits for the loads of its chunks, and for POPC
where all masks are of one class.
"""

from __future__ import annotations

NODE = 2.0  # from one node of a graph to the next

# By a part of the card's name, then by the line of the bench: from, to.
REASONED: dict[str, dict[str, tuple[float, float]]] = {
    "H200": {
        "dynamic conv: 200 x 128 x 21504": (7, 8),
        "dynamic conv: 500 x 128 x 21504": (11, 13),
        "dynamic conv: 500 x 256 x 67200": (52, 62),
        "matrix NMS: 500 masks, 80 classes, 672 words": (30, 37),
        "matrix NMS: 500 masks, 1 classes, 672 words": (40, 50),
        "matrix NMS: 500 masks, 80 classes, 2100 words": (70, 80),
    },
    "A100": {"dynamic conv: 500 x 256 x 67200": (100, 115)},
    "4090": {"dynamic conv: 500 x 256 x 67200": (110, 170)},
    "Orin": {"dynamic conv: 500 x 128 x 21504": (140, 160)},
    "V100": {"dynamic conv: 500 x 256 x 67200": (345, 430)},
}


def expect(card: str, line: str, *, bytes_: float, bandwidth: float, is_copy: bool) -> str:
    """Return the expectation for a line of the bench on a card as text, empty where there is none."""
    if is_copy:
        best = bytes_ / bandwidth * 1e6
        return f"{best / 0.9 + NODE:.0f}-{best / 0.7 + NODE:.0f}"
    for part, lines in REASONED.items():
        if part in card and line in lines:
            return "{:.0f}-{:.0f}".format(*lines[line])
    return ""
