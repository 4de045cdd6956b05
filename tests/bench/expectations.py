"""What kernels should take on cards that have not been measured, in microseconds: to be proved wrong by the bench.

Kernels that move pictures and maps should reach 70 to 90 % of the bandwidth of a large copy, plus the gap between two
nodes of a graph. The others were reasoned out from the instructions of their inner loops, and from what a card is:

Dynamic convolution computes 128 rows x 128 pixels in a block, and takes as long as the busiest of four: shared memory
(256 clocks for 16 channels, 1536 for the epilogue), L2 (both operands for every block), the tensor cores, and the unit
of exponentials (2048 clocks). Matrix NMS waits for the loads of its chunks, 54 clocks a word, behind 26,000 clocks for
sorting and decay; where all masks are of one class, half of the time of POPC (16 a clock) does not hide behind them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NODE = 2.0  # from one node of a graph to the next
SORT_CLOCKS = 12_000  # for the best candidates


@dataclass(frozen=True, slots=True)
class Card:
    """What limits kernels: multiprocessors, their clock, FP16 on tensor cores by mma.sync, and L2."""

    sms: int
    ghz: float
    tflops: float
    l2_tbs: float


HOPPER = Card(132, 1.85, 620, 5.5)
CARDS = {
    "H100": HOPPER,
    "H200": HOPPER,
    "A100": Card(108, 1.41, 280, 3.5),
    "4090": Card(128, 2.5, 165, 5.0),
    "Orin": Card(16, 1.3, 42, 1.0),
    "V100": Card(80, 1.53, 50, 2.0),  # half of its rate: it has no asynchronous copies
}  # by a part of the name


class Expectations:
    """Times of the lines of a bench as text, "12-14"; empty for kernels that were not reasoned out for the card."""

    def __init__(self, name: str, *, bandwidth: float, rate: float) -> None:
        """Take a card's name, and its ceilings in bytes and in operations of FP16 per second."""
        self._card = next((card for part, card in CARDS.items() if part in name), None)
        self._bandwidth, self._rate = bandwidth, rate

    def copy(self, nbytes: float) -> str:
        """Return what moving these bytes takes."""
        best = 1e6 * nbytes / self._bandwidth
        return _span(best / 0.9 + NODE, best / 0.7 + NODE)

    def product(self, bytes_: float, operations: float) -> str:
        """Return what cuBLAS takes."""
        floor = 1e6 * max(bytes_ / self._bandwidth, operations / self._rate)
        return _span(floor / 0.9 + NODE, floor / 0.6 + NODE)

    def candidates(self, nbytes: float) -> str:
        """Return what choosing among scores of these bytes takes."""
        return self._reasoned(1e6 * nbytes / self._bandwidth + self._us(SORT_CLOCKS), nodes=2)

    def convolution(self, rows: int, channels: int, pixels: int) -> str:
        """Return what bit masks of these rows take."""
        return self._reasoned(self._tiles(rows, channels, pixels))

    def soft_masks(self, rows: int, channels: int, pixels: int) -> str:
        """Return what regions and soft masks of these rows take."""
        return self._reasoned(self._tiles(rows, channels, pixels) + 1e6 * rows * pixels / self._bandwidth, nodes=2)

    def matrix_nms(self, masks: int, words: int, *, is_one_class: bool) -> str:
        """Return what matrix NMS takes; of many classes hardly two masks are of the same."""
        pairs = masks * masks / 2 * is_one_class
        popc = 0.0 if self._card is None else self._us(pairs * words / (16 * self._card.sms))
        return self._reasoned(0.9 * (self._us(26_000 + 54 * words) + popc / 2), nodes=0)

    def _us(self, clocks: float) -> float:
        return 0.0 if self._card is None else clocks / self._card.ghz / 1e3

    def _tiles(self, rows: int, channels: int, pixels: int) -> float:
        card = self._card
        if card is None:
            return 0.0
        blocks = math.ceil(rows / 128) * math.ceil(pixels / 128)
        on_each = blocks / card.sms if blocks > card.sms else 1.0
        return max(
            self._us(on_each * (channels / 16 * 256 + 1536)),
            self._us(on_each * 2048),
            blocks * 256 * channels * 2 / card.l2_tbs / 1e6,
            blocks * 2 * 128 * 128 * channels / card.tflops / 1e6,
        )

    def _reasoned(self, us: float, *, nodes: int = 1) -> str:
        return "" if self._card is None else _span(us + nodes * NODE, 1.2 * us + nodes * NODE)


def _span(low: float, high: float) -> str:
    digits = 1 if high < 10 else 0
    return f"{low:.{digits}f}-{high:.{digits}f}"
