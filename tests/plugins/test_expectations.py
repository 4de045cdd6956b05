"""What the bench of kernels says that each of them should take, on cards that it has not seen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from devices import Emulated
from expectations import CARDS, Expectations
from kernels_cuda import Bench


class Rehearsal(Bench):
    """Keeps what each line of the table expects instead of timing it."""

    def __init__(self, card: str) -> None:
        self.gpu, self.rng = Emulated(), np.random.default_rng(0)
        self.expected = Expectations(card, bandwidth=4e12, rate=7e14)
        self.told: dict[str, str] = {}

    def line(self, name, arguments, *, bytes_, operations=0.0, label, expected):
        self.told[label] = expected


def told(card: str) -> dict[str, str]:
    bench = Rehearsal(card)
    bench.decode(200, 128, (112, 192))
    bench.pictures((1080, 1920))
    bench.norm(128, 112 * 192)
    return bench.told


@pytest.mark.parametrize("part", CARDS)
def test_every_kernel_has_an_expectation_on_every_card_that_is_known(part):
    found = told(f"NVIDIA {part} 80GB")
    assert len(found) == 13
    for text in found.values():
        low, high = map(float, text.split("-"))
        assert 0 < low < high


def test_of_another_card_only_what_copies_take_is_known():
    found = told("Some other card")
    assert {label.split(":")[0] for label, text in found.items() if text} == {
        "letterbox", "overlay", "labels", "copy", "group norm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("card", "rows", "channels", "pixels", "text"),
    [
        ("H200", 200, 128, 21504, "6.9-7.9"),  # shared memory: 336 blocks x 3584 clocks
        ("H200", 500, 256, 67200, "52-62"),  # L2: 275 MB
        ("4090", 500, 256, 67200, "109-130"),  # tensor cores
        ("H200", 20, 16, 21504, "3.4-3.7"),  # exponentials: 168 blocks x 2048 clocks
    ],
)
def test_dynamic_convolution_takes_as_long_as_what_is_busiest(card, rows, channels, pixels, text):
    found = Expectations(card, bandwidth=4e12, rate=7e14).convolution(rows, channels, pixels)
    assert found == text


def test_masks_of_one_class_take_matrix_nms_longer():
    times = Expectations("H200", bandwidth=4e12, rate=7e14)
    assert times.matrix_nms(500, 672, is_one_class=False) == "30-36"
    assert times.matrix_nms(500, 672, is_one_class=True) == "40-48"
