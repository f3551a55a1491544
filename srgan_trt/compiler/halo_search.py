"""How much of a tile's surroundings is worth computing: far less than the receptive field."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable
from importlib.resources import files

import numpy as np

from .io_normalization import Range
from .reference import Floats
from .value_range import test_picture

log = logging.getLogger(__name__)

LEVELS = 0.5
"""Largest change, in levels of 255, that leaving out the rest of the receptive field may make on the test picture."""
_STEPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40)
_CUT = 64
_ROWS = 64

WIDE_LEVELS = 1.0
"""The same beyond the small steps. The strongest reactions of deep networks travel far, and most of what they compute
would be halo: Real-ESRGAN x4plus moves by 1.5 levels at most with 48 pixels, by 0.7 with 64 and by 0.1 with 80."""
_WIDE = ((256, (48, 64, 80)), (384, (96, 128)))
"""Width of the test picture, and the halos that are tried on it: three times as wide as the largest of them."""
_WIDE_TOP = 160
"""First row of the test picture in that of int8."""
_MOST_WORK = 6e12
"""Multiply-accumulates for all of the wide steps: a minute or two on two cores. x4plus needs a fifth of it."""


def measure_halo(
    network: Callable[[Floats], Floats],
    *,
    full: int,
    scale: int,
    multiple: int,
    input_range: Range,
    output_range: Range,
    macs: float = 0.0,
) -> int:
    """The smallest halo that keeps every pixel of the test picture within LEVELS of the whole one, or, of those above
    40 pixels, within WIDE_LEVELS.

    ``network`` is the bare network, NCHW; ``full`` the exact halo, which is returned where no smaller one does;
    ``macs`` its work per input pixel, which bounds how far it is looked.
    """
    low, high = input_range
    bottom, top = output_range
    height = _ROWS // multiple * multiple
    if not height:
        return full

    def levels(window: Floats) -> Floats:
        values = network(np.ascontiguousarray(window * (high - low) + low).astype(np.float32))
        clipped: Floats = np.clip((values - bottom) / (top - bottom), 0, 1) * 255
        return clipped

    def whole_halos(steps: tuple[int, ...], limit: int) -> list[int]:
        return sorted({halo for step in steps if (halo := -(-step // multiple) * multiple) < limit})

    cut = _CUT // multiple * multiple
    seam = _Seam(levels, test_picture()[:, :, :height, : 2 * cut], cut=cut, scale=scale)
    steps = whole_halos(_STEPS, min(full, cut))
    # influence fades with distance, so halving finds the first step that does
    first = bisect.bisect_left(steps, True, key=lambda halo: float(seam.moved(halo).max()) <= LEVELS)
    if first < len(steps):
        return steps[first]
    work = 0.0
    for width, sizes in _WIDE:
        cut = width // 2 // multiple * multiple
        steps = whole_halos(sizes, min(full, cut))
        seam = _Seam(levels, _wide_picture(height, 2 * cut), cut=cut, scale=scale)
        for halo in steps:
            # one after the other: larger ones cost more, and few networks need them
            work += macs * height * (2 * (cut + halo) + (2 * cut if halo == steps[0] else 0))
            if work > _MOST_WORK:
                log.warning("halos from %d pixels on are not tried: the network is too large to do that here", halo)
                return full
            if seam.moved(halo).max() <= WIDE_LEVELS:
                return halo
    return full


class _Seam:
    """A picture cut into two at a column."""

    def __init__(self, levels: Callable[[Floats], Floats], picture: Floats, *, cut: int, scale: int) -> None:
        """levels: what the network makes of a picture, in levels."""
        self._levels, self._picture, self._cut, self._scale = levels, picture, cut, scale
        self._whole: Floats | None = None

    def moved(self, halo: int) -> Floats:
        """By how many levels the values change, if each side sees only `halo` pixels of the other."""
        if self._whole is None:
            self._whole = self._levels(self._picture)
        picture, cut, edge = self._picture, self._cut, self._cut * self._scale
        before = self._levels(picture[..., : cut + halo])[..., :edge]
        after = self._levels(picture[..., cut - halo :])[..., halo * self._scale :]
        moved: Floats = np.abs(np.concatenate([before, after], axis=-1) - self._whole)
        return moved


def _wide_picture(height: int, width: int) -> Floats:
    """Photographs side by side (compiler/int8/calibration.py tells whose): (1, 3, height, width), 0..1."""
    from PIL import Image

    with files(__package__).joinpath("data/calibration.jpg").open("rb") as file:
        photos = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255
    picture: Floats = photos[_WIDE_TOP : _WIDE_TOP + height, :width].transpose(2, 0, 1)[None].astype(np.float32)
    return picture
