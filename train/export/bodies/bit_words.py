"""Masks as bits in words of 32, as lines of a body."""

from __future__ import annotations

# Words of 32 bits, exact in float32 arithmetic: 16 bits at a time, the upper half in two's complement.
PACK = """
    powers = Constant<value_floats = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
        8192.0, 16384.0, 32768.0]>()
    column_shape = Constant<value_ints = [16, 1]>()
    column = Reshape(powers, column_shape)
"""
# bits [B, X, W * 32] of 0 and 1 (int32) from words [B, X, W].
UNPACK = """
    two16 = Constant<value = int32 {65536}>()
    one32 = Constant<value = int32 {1}>()
    two32 = Constant<value = int32 {2}>()
    low = Mod(words, two16)
    rest = Sub(words, low)
    signed_high = Div(rest, two16)
    high = Mod(signed_high, two16)
    new_axis = Constant<value_ints = [-1]>()
    low_column = Unsqueeze(low, new_axis)
    high_column = Unsqueeze(high, new_axis)
    halves = Concat<axis = -1>(low_column, high_column)
    half_columns = Unsqueeze(halves, new_axis)
    weights = Constant<value = int32[16] {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
        32768}>()
    shifted = Div(half_columns, weights)
    bits_apart = Mod(shifted, two32)
    keep_two = Constant<value_ints = [0, 0, -1]>()
    bits = Reshape(bits_apart, keep_two)
"""
