"""Bicubic resizing to any size, antialiased when shrinking (Pillow's), of 8 and 16 bits, in bands of rows."""

from __future__ import annotations

import math

import numpy as np

from .picture import Samples, bands
from .workers import in_order

_BAND = 8
"""Times the usual band: each one reads again some rows of its neighbours."""


def resize(samples: Samples, height: int, width: int) -> Samples:
    """``samples`` (H, W, C), uint8 or uint16, as (height, width, C): rounded, clipped; memory beyond it is a few MB.

    What is constant over the pixels around stays exactly so.
    """
    result = np.empty((height, width, samples.shape[2]), samples.dtype)
    resize_rows(samples, result, first=0, source=samples.shape[0], top=0, target=height)
    return result


def rows_needed(top: int, bottom: int, *, source: int, target: int) -> tuple[int, int]:
    """Rows [first, last) of ``source`` in all that rows [top, bottom) of ``target`` in all are made of."""
    ratio = source / target
    # Bicubic looks two pixels around, of the smaller picture; one more is never seen.
    reach = 2 * max(ratio, 1.0) + 1
    return max(0, math.floor(top * ratio - reach)), min(source, math.ceil(bottom * ratio + reach))


def resize_rows(rows: Samples, out: Samples, *, first: int, source: int, top: int, target: int) -> None:
    """Fills ``out`` (h, w, C), the rows from ``top`` on of a picture of ``target`` rows.

    rows: (H, W, C), those from ``first`` on of a picture of ``source`` rows; at least the ``rows_needed``.
    """
    from PIL import Image

    highest = np.iinfo(rows.dtype).max
    ratio = source / target
    height, width, channels = out.shape

    def fill(band: tuple[int, int]) -> None:
        begin, end = (top + row for row in band)
        above, below = rows_needed(begin, end, source=source, target=target)
        box = (0.0, begin * ratio - above, float(rows.shape[1]), min(end * ratio, source) - above)
        for channel in range(channels):
            levels = Image.fromarray(rows[above - first : below - first, :, channel].astype(np.float32))
            resized = np.asarray(levels.resize((width, end - begin), Image.Resampling.BICUBIC, box=box))
            out[band[0] : band[1], :, channel] = np.clip(np.rint(resized), 0, highest)

    row_bytes = math.ceil(4 * max(rows.shape[1] * ratio, width))
    for _ in in_order(fill, bands(height, row_bytes // _BAND)):
        pass
