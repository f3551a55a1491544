"""How much of a JPEG's 8x8 blocks can still be seen in a picture that was made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metrics import luma

_BLOCK = 8


def visible_blocks(picture: NDArray[np.uint8], truth: NDArray[np.uint8], *, scale: int) -> float:
    """Steps across the borders of the blocks, ``scale`` times enlarged, over steps elsewhere; less the truth's.

    The mean absolute difference of neighbouring pixels' luma where a block of the small picture ends, divided by the
    mean elsewhere, along rows and columns together. 0: no more than in the truth; a smooth enlargement has a little
    more without any block, as it has most of its steps between two pixels of the small picture.

    picture, truth: uint8 RGB (H, W, 3), of one shape. Raises ValueError for arrays of other kinds, or without a border
    of blocks in them.
    """
    if picture.shape != truth.shape:
        raise ValueError(f"pictures of {picture.shape} and {truth.shape} are not compared: crop one to the other")
    return _ratio(picture, _BLOCK * scale) - _ratio(truth, _BLOCK * scale)


def _ratio(picture: NDArray[np.uint8], period: int) -> float:
    levels = luma(picture)
    across = elsewhere = 0.0
    borders = others = 0
    for plane in (levels, levels.T):
        steps = np.abs(np.diff(plane, axis=1)).sum(axis=0)
        at_border = np.arange(1, plane.shape[1]) % period == 0
        across += float(steps[at_border].sum())
        elsewhere += float(steps[~at_border].sum())
        borders += int(at_border.sum()) * plane.shape[0]
        others += int((~at_border).sum()) * plane.shape[0]
    if not borders:
        raise ValueError(f"a picture of {levels.shape[1]} x {levels.shape[0]} pixels has no border of blocks in it")
    # A flat picture has no steps anywhere: nothing stands out.
    return (across / borders) / (elsewhere / others) if elsewhere else 1.0
