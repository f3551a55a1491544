"""How much of a tile's surroundings is worth computing: far less than the receptive field."""

from __future__ import annotations

import bisect
from collections.abc import Callable

import numpy as np

from .ends import Range
from .oracle import Floats
from .value_range import test_picture

LEVELS = 0.5
"""Largest change, in levels of 255, that leaving out the rest of the receptive field may make on the test picture."""
_STEPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40)
_CUT = 64
_ROWS = 64


def measure_halo(
    network: Callable[[Floats], Floats],
    *,
    full: int,
    scale: int,
    multiple: int,
    input_range: Range,
    output_range: Range,
) -> int:
    """The smallest halo that keeps every pixel of the test picture within LEVELS of the whole one.

    ``network`` is the bare network, NCHW; ``full`` the exact halo, which is returned where no smaller one does.
    """
    low, high = input_range
    height = _ROWS // multiple * multiple
    picture = (test_picture()[:, :, :height] * (high - low) + low).astype(np.float32)
    bottom, top = output_range

    def levels(window: Floats) -> Floats:
        clipped: Floats = np.clip((network(np.ascontiguousarray(window)) - bottom) / (top - bottom), 0, 1) * 255
        return clipped

    whole = levels(picture)

    def moved(halo: int) -> float:
        # the picture cut off `halo` pixels beyond column _CUT, and the same in front of it
        before = levels(picture[..., : _CUT + halo])[..., : _CUT * scale]
        after = levels(picture[..., _CUT - halo :])[..., halo * scale :]
        return float(
            max(np.abs(before - whole[..., : _CUT * scale]).max(), np.abs(after - whole[..., _CUT * scale :]).max())
        )

    steps = sorted({-(-halo // multiple) * multiple for halo in _STEPS})
    steps = [halo for halo in steps if halo < min(full, _CUT)]
    # influence fades with distance, so halving finds the first step that does
    first = bisect.bisect_left(steps, True, key=lambda halo: moved(halo) <= LEVELS)
    return steps[first] if first < len(steps) else full
