"""How much of a tile's surroundings is worth computing: far less than the receptive field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .ends import Range
from .oracle import Floats
from .value_range import test_picture

LEVELS = 0.5
"""Largest change, in levels of 255, that leaving out the rest of the receptive field may make on the test picture."""
_STEPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40)
_CUT = 64


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
    picture = (test_picture() * (high - low) + low).astype(np.float32)
    height = 96 // multiple * multiple
    bottom, top = output_range

    def levels(window: Floats) -> Floats:
        clipped: Floats = np.clip((network(window) - bottom) / (top - bottom), 0, 1) * 255
        return clipped

    whole = levels(picture[:, :, :height])
    for halo in _STEPS:
        rounded = -(-halo // multiple) * multiple
        if rounded >= min(full, 128 - _CUT):
            break
        # the picture cut off `rounded` pixels beyond column _CUT, and the same in front of it
        before = levels(np.ascontiguousarray(picture[:, :, :height, : _CUT + rounded]))[..., : _CUT * scale]
        after = levels(np.ascontiguousarray(picture[:, :, :height, _CUT - rounded :]))[..., rounded * scale :]
        moved = max(np.abs(before - whole[..., : _CUT * scale]).max(), np.abs(after - whole[..., _CUT * scale :]).max())
        if moved <= LEVELS:
            return rounded
    return full
