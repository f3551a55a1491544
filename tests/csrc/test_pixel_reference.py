"""The reference's own fused multiply-add against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from . import pixel_reference

_FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**40), max_value=2.0**40)

# The exact sum is below the tie 1 + 2^-23 + 2^-24 by 2^-70: float64 rounds it to the tie, and float32 then goes up.
_BELOW_A_TIE = {"a": 1 + 2.0**-23, "b": 2.0**-24 * (1 - 2.0**-23), "c": 1 + 2.0**-23}


def nearest_float32(exact: Fraction) -> np.float32:
    """Rounded once, ties to the even mantissa."""
    guess = np.float32(float(exact))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(around, key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.int32)) & 1))


@example(**_BELOW_A_TIE)
@example(**{name: -value for name, value in _BELOW_A_TIE.items() if name != "b"}, b=_BELOW_A_TIE["b"])
@given(a=_FLOATS, b=_FLOATS, c=_FLOATS)
def test_fused_is_rounded_once(a: float, b: float, c: float) -> None:
    assert pixel_reference.fused(np.float32(a), b, c) == nearest_float32(Fraction(a) * Fraction(b) + Fraction(c))


def test_rounding_twice_would_be_wrong() -> None:
    a, b, c = _BELOW_A_TIE.values()
    assert np.float32(a * b + c) != pixel_reference.fused(np.float32(a), b, c)
