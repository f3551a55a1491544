"""Still parts of a film held still: what noise does to them is averaged over time before the network sees it.

A recursive mean of the frames, with a weight for the new one of each pixel. Where a block differs from the mean by no
more than noise does, the weight is small; where something moves it is 1, and the frame goes through untouched. How much
noise does is taken from the film: what its quietest blocks differ by, and no more than neighbouring pixels do.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Floats = NDArray[np.float32]
_WEIGHT = 0.2
"""Of a new frame where nothing moves: about the mean of nine frames."""
_BLOCK = 4
"""Side in pixels of the blocks that move or not; one that moves takes its neighbours with it."""
_QUIET = 20
"""Per cent of the blocks that are taken for still, if what they differ by is noise."""
_GRAIN = 1.5
"""Times what its neighbouring pixels differ by that a block may differ by: what moves differs smoothly, noise not."""
_LEAST, _MOST = 0.2, 6.0
"""Levels of 255, of what noise is taken to do; more is motion everywhere."""
_STILL, _MOVES = 1.4, 2.0
"""Times what noise does, up to which a block is still, and from which it moves."""


_MEAN = np.full(3, 1 / 3, np.float32)


@dataclass(frozen=True, slots=True)
class Steadied:
    """What the filter knows after a frame."""

    mean: NDArray[np.float32]
    """(H, W, 3), in levels of the film."""
    last: Pixels
    """The frame as it came."""

    def to_bytes(self) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, mean=self.mean, last=self.last)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Steadied:
        """Raises ValueError, KeyError, OSError or zipfile.BadZipFile if `data` is damaged."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays["last"])

    @property
    def pixels(self) -> Pixels:
        """The frame as the network gets it."""
        return np.rint(self.mean).astype(self.last.dtype)


def steadied(before: Steadied | None, pixels: Pixels) -> Steadied:
    """The next frame, uint8 or uint16 (H, W, 3). One that is the same again changes nothing."""
    if before is None or before.last.shape != pixels.shape:
        return Steadied(pixels.astype(np.float32), pixels)
    if np.array_equal(before.last, pixels):
        return before
    unit = float(np.iinfo(pixels.dtype).max) / 255
    apart = pixels - before.mean
    moved = _blocks(np.abs(apart) @ _MEAN) / unit
    share = np.clip((moved / _noise(apart, moved, unit) - _STILL) / (_MOVES - _STILL), 0, 1)
    weight = _WEIGHT + (1 - _WEIGHT) * _spread(share, *pixels.shape[:2])
    apart *= weight
    apart += before.mean
    return Steadied(apart, pixels)


def _noise(apart: Floats, moved: Floats, unit: float) -> float:
    """What noise makes blocks differ by, in levels of 255."""
    rows = apart[::2]
    bends = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]) @ _MEAN / np.float32(unit * math.sqrt(6))
    quiet = float(np.percentile(moved, _QUIET))
    grain = float(np.percentile(_blocks(bends), _QUIET)) if bends.size else 0.0
    return min(max(min(quiet, _GRAIN * grain), _LEAST), _MOST)


def _blocks(values: Floats) -> Floats:
    """Means of blocks, those at the right and at the bottom of what there is."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(values, np.float32)).reduce(_BLOCK))


def _spread(share: Floats, height: int, width: int) -> Floats:
    """(height, width, 1): the largest of each block and those around it, from block to block linearly."""
    from PIL import Image

    around = np.pad(share, 1, "edge")
    for axis in (0, 1):
        size = share.shape[axis]
        around = np.maximum.reduce([around.take(range(begin, begin + size), axis) for begin in range(3)])
    box = (0.0, 0.0, width / _BLOCK, height / _BLOCK)
    wide = Image.fromarray(around.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(wide)[:, :, None]
