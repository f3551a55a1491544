"""Transparency: what colour invisible pixels get before the network sees them.

A network mixes each pixel with its neighbours, and the colours that files keep under fully transparent pixels are
arbitrary (mostly black): they would bleed into the visible edge. So they are replaced by a smooth continuation of the
visible colours: the pull-push pyramid of Gortler et al., "The Lumigraph" (SIGGRAPH 1996), section 3.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .picture import Samples, bands


def fill_transparent(pixels: Samples, alpha: Samples) -> Samples:
    """``pixels`` (H, W, C) with those where ``alpha`` (H, W) is 0 filled smoothly from the visible ones.

    Visible pixels are unchanged, and so is a picture without any visible or any invisible pixel (it is returned
    itself; otherwise a new array is).
    """
    visible = alpha > 0
    if visible.all() or not visible.any():
        return pixels
    result = pixels.copy()
    _fill(result, visible)
    return result


def _fill(pixels: Samples, known: NDArray[np.bool_]) -> None:
    """Fills ``pixels`` where they are not ``known``, in place, from a half-size picture filled before."""
    if known.all():
        return
    half, half_known = _halved(pixels, known)
    _fill(half, half_known)
    height, width = known.shape
    for top, bottom in bands(height, width * pixels.shape[2] * 16):
        unknown = ~known[top:bottom]
        if unknown.any():
            pixels[top:bottom][unknown] = _doubled(half, top, bottom, width)[unknown]


def _halved(pixels: Samples, known: NDArray[np.bool_]) -> tuple[Samples, NDArray[np.bool_]]:
    """Each 2x2 block as one pixel: the mean of its known ones (at an odd edge the block is smaller)."""
    height, width, channels = pixels.shape
    half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), pixels.dtype)
    half_known = np.empty(half.shape[:2], np.bool_)
    for top, bottom in bands(half.shape[0], half.shape[1] * channels * 32):
        rows = slice(2 * top, min(2 * bottom, height))
        sums = np.zeros((bottom - top, half.shape[1], channels), np.uint32)
        counts = np.zeros((bottom - top, half.shape[1], 1), np.uint32)
        for a in (0, 1):
            for b in (0, 1):
                part = known[rows][a::2, b::2, None]
                sums[: part.shape[0], : part.shape[1]] += pixels[rows][a::2, b::2] * part
                counts[: part.shape[0], : part.shape[1]] += part
        half[top:bottom] = (sums + counts // 2) // np.maximum(counts, 1)
        half_known[top:bottom] = counts[:, :, 0] > 0
    return half, half_known


def _doubled(half: Samples, top: int, bottom: int, width: int) -> Samples:
    """Rows top to bottom of ``half`` at twice its size, bilinear: weights 3/4 and 1/4, edges repeated."""
    rows = np.arange(top, bottom)
    columns = np.arange(width)
    near_row, near_column = rows // 2, columns // 2
    far_row = np.clip(near_row + np.where(rows % 2, 1, -1), 0, half.shape[0] - 1)
    far_column = np.clip(near_column + np.where(columns % 2, 1, -1), 0, half.shape[1] - 1)
    tall = 3 * half[near_row].astype(np.uint32) + half[far_row]
    return ((3 * tall[:, near_column] + tall[:, far_column] + 8) // 16).astype(half.dtype)
