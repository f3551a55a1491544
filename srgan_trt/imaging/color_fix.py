"""The colours of a result brought to those of its input, for networks that shift them; detail is left as it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .picture import Samples, bands

_BLOCK = 8
"""Side in input pixels over which colours are compared: well above what a network sharpens or invents."""


def fix_colours(result: Samples, source: Samples) -> None:
    """Adds to ``result`` (H, W, C), in place, what its means over blocks of 8 x 8 pixels of ``source`` (h, w, C) lack,
    from block to block by bicubic. Both are uint8, or both uint16; memory beyond them is a few MB.

    What differs within blocks only, as edges and texture do, stays: a result with the colours of its source is
    unchanged.
    """
    from PIL import Image

    edges = [_edges(side) for side in source.shape[:2]]
    wide = [
        np.rint(each * large / small).astype(np.intp)
        for each, large, small in zip(edges, result.shape, source.shape, strict=False)
    ]
    missing = _means(source, *edges) - _means(result, *wide)
    layers = [Image.fromarray(np.ascontiguousarray(missing[:, :, channel])) for channel in range(missing.shape[2])]
    height, width, _ = result.shape
    highest = np.iinfo(result.dtype).max
    ratio = missing.shape[0] / height
    for top, bottom in bands(height, width * 4):
        box = (0.0, top * ratio, float(missing.shape[1]), min(bottom * ratio, missing.shape[0]))
        for channel, layer in enumerate(layers):
            added = np.asarray(layer.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box))
            rows = result[top:bottom, :, channel]
            rows[...] = np.clip(np.rint(rows + added), 0, highest)


def _edges(side: int) -> NDArray[np.intp]:
    """Where blocks begin and end along a side."""
    return np.rint(np.linspace(0, side, max(1, round(side / _BLOCK)) + 1)).astype(np.intp)


def _means(samples: Samples, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """(len(rows) - 1, len(columns) - 1, C) means of the blocks between these rows and columns."""
    sums = np.stack(
        [
            np.add.reduceat(samples[top:bottom].sum(axis=0, dtype=np.int64), columns[:-1], axis=0)
            for top, bottom in pairwise(rows)
        ]
    )
    areas = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    means: NDArray[np.float32] = (sums / areas[:, :, None]).astype(np.float32)
    return means
