"""Colours for classes that have none of their own."""

from __future__ import annotations

from solo_rt.decoders import Rgb


def voc_palette(count: int) -> tuple[Rgb, ...]:
    """Return the first `count` of PASCAL VOC's 256 colours: the bits of a class number, dealt to red, green and blue.

    Bits 0, 1 and 2 of the number are the highest bits of the three channels, bits 3, 4 and 5 the next ones.
    Source: VOCcode/VOClabelcolormap.m of the PASCAL VOC development kit.
    """
    return tuple(
        (_every_third_bit(number), _every_third_bit(number >> 1), _every_third_bit(number >> 2))
        for number in range(count)
    )


def _every_third_bit(number: int) -> int:
    return sum(((number >> (3 * j)) & 1) << (7 - j) for j in range(8))
