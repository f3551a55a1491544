"""Bicubic resizing as MATLAB's ``imresize`` does it, by which the field makes its low-resolution pictures.

The kernel is Keys' cubic convolution with a = -1/2 ("Cubic convolution interpolation for digital image processing",
IEEE Trans. ASSP 29(6), 1981), stretched by the scale when shrinking (antialiasing), its weights brought to a sum of
one. The field's published pictures show the rest, and are met to the level by it: columns are resized before rows,
levels are rounded after either, and border pixels are repeated, as ``imresize`` had it until about 2016; since then it
mirrors the picture instead, which is seen in the outermost two pixels of the result only.

Pillow's bicubic has another idea of the border and of rounding, OpenCV's neither this kernel nor the stretch: scores
on their pictures do not compare with those of papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_REACH = 2
"""Half the support of the kernel, in pixels of the smaller picture."""
_BAND_BYTES = 1 << 20
"""Of sums that are made at once: they stay in a core's cache."""


def shrink(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """``image``, uint8 (H, W, C), made ``scale`` times smaller: uint8 (H / scale, W / scale, C).

    As ``imresize(image, 1 / scale)``. Raises ValueError if a side is not a multiple of ``scale``, or for an array of
    another kind.
    """
    _check(image, scale)
    height, width, _ = image.shape
    if height % scale or width % scale:
        raise ValueError(f"a picture of {width} x {height} pixels is not a multiple of {scale}: crop it first")
    if scale == 1:
        return image.copy()
    # All results lie alike between the pixels that they are made of: one row of weights serves them all.
    centre = (scale - 1) / 2
    first = int(np.floor(centre - _REACH * scale)) + 1
    weights = _weights((centre - (first + np.arange(2 * _REACH * scale))) / scale)
    return _resized(image, [(first, weights)], step=scale)


def enlarge(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """``image``, uint8 (H, W, C), made ``scale`` times larger: uint8 (H * scale, W * scale, C).

    As ``imresize(image, scale)``. Raises ValueError for an array of another kind.
    """
    _check(image, scale)
    if scale == 1:
        return image.copy()
    phases = []
    for phase in range(scale):
        centre = (phase + 0.5) / scale - 0.5
        first = int(np.floor(centre)) - _REACH + 1
        phases.append((first, _weights(centre - (first + np.arange(2 * _REACH)))))
    return _resized(image, phases, step=1)


def _check(image: NDArray[np.uint8], scale: int) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"an array of {image.dtype}, {image.shape}, is not resized: give uint8 (height, width, channels)"
        )
    if scale < 1:
        raise ValueError(f"a scale of {scale} is none: give 1 or more")


def _weights(distance: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Keys' kernel at these distances, in pixels of the smaller picture, brought to a sum of one."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    kernel = np.where(x <= 1, near, np.where(x <= 2, far, 0))
    return np.asarray(kernel / kernel.sum())


Phases = Sequence[tuple[int, NDArray[np.float64]]]
"""One per result pixel of a period: which pixel is the first that it is made of, and the weights from there on."""


def _resized(image: NDArray[np.uint8], phases: Phases, *, step: int) -> NDArray[np.uint8]:
    rows = _resized_rows(image, phases, step)
    return np.ascontiguousarray(_resized_rows(rows.swapaxes(0, 1), phases, step).swapaxes(0, 1))


def _resized_rows(image: NDArray[np.uint8], phases: Phases, step: int) -> NDArray[np.uint8]:
    """``image`` (N, M, C) -> (N * len(phases) / step, M, C): result i starts from pixel i // len(phases) * step."""
    before = max(0, -min(first for first, _ in phases))
    after = max(0, max(first + len(weights) for first, weights in phases) - step)
    padded = np.pad(image, ((before, after), (0, 0), (0, 0)), mode="edge")
    count = image.shape[0] // step
    result = np.empty((count * len(phases), *image.shape[1:]), np.uint8)
    band = max(1, _BAND_BYTES // (8 * result[0].size))
    for top in range(0, count, band):
        bottom = min(top + band, count)
        for phase, (first, weights) in enumerate(phases):
            total = np.zeros((bottom - top, *image.shape[1:]))
            for tap, weight in enumerate(weights, start=before + first):
                total += weight * padded[top * step + tap : (bottom - 1) * step + tap + 1 : step]
            # MATLAB rounds halves away from zero, NumPy to even.
            levels = np.floor(total.clip(0, 255) + 0.5)
            result[top * len(phases) + phase : bottom * len(phases) : len(phases)] = levels
    return result
