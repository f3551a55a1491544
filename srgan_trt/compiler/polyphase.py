"""The arithmetic of sub-pixel phases: what a convolution at high resolution is at low resolution.

A picture of r times the size is r*r phases: phase (a, b) holds the pixels whose row is a and whose column
is b modulo r (Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network", CVPR 2016, section 3.2). A k x k convolution that keeps the size reads,
for an output pixel of phase a, the input row ``r*y + a + t``: phase ``(a + t) mod r`` of the low-resolution
row ``y + (a + t) // r``. So it is one convolution from r*r*C to r*r*O channels at low resolution, exact at
the zero-padded border too, since a high-resolution row is outside exactly when its low-resolution row is.
Channels are phase-major everywhere: ``(a*r + b)*C + c``, the order of DepthToSpace in DCR mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float32]
Pads = tuple[int, int, int, int]


def shuffled(array: NDArray[Any], factor: int, mode: str = "DCR") -> NDArray[Any]:
    """DepthToSpace of (N, C, H, W) as ONNX defines it, to (N, C/factor^2, H*factor, W*factor)."""
    count, channels, height, width = array.shape
    depth = channels // factor**2
    if mode == "DCR":
        split = array.reshape(count, factor, factor, depth, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        split = array.reshape(count, depth, factor, factor, height, width).transpose(0, 1, 4, 2, 5, 3)
    return split.reshape(count, depth, height * factor, width * factor)


@dataclass(frozen=True, slots=True)
class _Taps:
    """Where each tap of one axis lands: (output phase, tap) -> (input phase, low-resolution offset)."""

    source: dict[tuple[int, int], tuple[int, int]]
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


def _taps(r: int, size: int, before: int) -> _Taps:
    source = {}
    for phase in range(r):
        for tap in range(size):
            row = phase + tap - before
            source[phase, tap] = (row % r, row // r)
    offsets = [offset for _, offset in source.values()]
    return _Taps(source, min(offsets), max(offsets))


def shape_after_shuffle(shape: tuple[int, ...], r: int, pads: Pads) -> tuple[int, int, int, int]:
    """The shape of the weights that ``commute_with_shuffle`` makes of weights (O, C, k, l), without making them."""
    out, channels, height, width = shape
    rows, columns = _taps(r, height, pads[0]), _taps(r, width, pads[1])
    return r * r * out, r * r * channels, rows.size, columns.size


def commute_with_shuffle(weight: Kernel, r: int, pads: Pads) -> tuple[Kernel, Pads]:
    """The convolution ``weight`` (O, C, k, l), applied after a shuffle by ``r``, moved before it.

    Returns weights (r*r*O, r*r*C, K, L) and their pads (top, left, bottom, right).
    """
    out, channels, height, width = weight.shape
    rows, columns = _taps(r, height, pads[0]), _taps(r, width, pads[1])
    moved = np.zeros((r, r, out, r, r, channels, rows.size, columns.size), np.float64)
    for (a, i), (source_a, dy) in rows.source.items():
        for (b, j), (source_b, dx) in columns.source.items():
            moved[a, b, :, source_a, source_b, :, dy - rows.first, dx - columns.first] += weight[:, :, i, j]
    kernel = moved.reshape(shape_after_shuffle(weight.shape, r, pads)).astype(np.float32)
    return kernel, (-rows.first, -columns.first, rows.last, columns.last)


def fold_nearest(weight: Kernel, r: int, pads: Pads) -> tuple[Kernel, Pads]:
    """The convolution ``weight`` (O, C, k, l) on a nearest-neighbour enlargement by ``r``, before it.

    All r*r phases of the enlargement are the same map, so their taps add up: weights (r*r*O, C, K, L).
    """
    channels = weight.shape[1]
    kernel, moved_pads = commute_with_shuffle(weight, r, pads)
    summed = kernel.reshape(kernel.shape[0], r * r, channels, *kernel.shape[2:]).sum(axis=1, dtype=np.float64)
    return summed.astype(np.float32), moved_pads


def of_transposed(weight: Kernel, r: int, pads: Pads) -> tuple[Kernel, Pads]:
    """A transposed convolution of stride ``r``, weights (C, O, k, l), as phases: (r*r*O, C, K, L).

    Holds where the output is r times the input along both sides.
    """
    channels, out, height, width = weight.shape
    taps = [
        {(a, k): (a + before - k) // r for a in range(r) for k in range(size) if (a + before - k) % r == 0}
        for size, before in ((height, pads[0]), (width, pads[1]))
    ]
    (top, bottom), (left, right) = ((min(t.values()), max(t.values())) for t in taps)
    kernel = np.zeros((r, r, out, channels, bottom - top + 1, right - left + 1), np.float32)
    for (a, i), dy in taps[0].items():
        for (b, j), dx in taps[1].items():
            kernel[a, b, :, :, dy - top, dx - left] += weight[:, :, i, j].T
    return kernel.reshape(r * r * out, channels, *kernel.shape[4:]), (-top, -left, bottom, right)


def support(kernel: Kernel, pads: Pads) -> tuple[Kernel, Pads]:
    """``kernel`` without its outer rows and columns of zeros, and the pads that go with what is left."""
    rows = np.flatnonzero(np.any(kernel != 0, axis=(0, 1, 3)))
    columns = np.flatnonzero(np.any(kernel != 0, axis=(0, 1, 2)))
    # the tap on the pixel itself always stays: a convolution cannot have negative pads
    rows, columns = np.append(rows, pads[0]), np.append(columns, pads[1])
    (top, bottom), (left, right) = ((int(taps.min()), int(taps.max())) for taps in (rows, columns))
    height, width = kernel.shape[2:]
    cut = kernel[:, :, top : bottom + 1, left : right + 1]
    return cut, (pads[0] - top, pads[1] - left, pads[2] - (height - 1 - bottom), pads[3] - (width - 1 - right))


def to_transposed(kernel: Kernel, r: int, pads: Pads) -> tuple[Kernel, Pads]:
    """Phases (r*r*O, C, K, L) as one transposed convolution of stride r: weights (C, O, k, l) and pads."""
    channels, height, width = kernel.shape[1:]
    out = kernel.shape[0] // (r * r)
    phases = kernel.reshape(r, r, out, channels, height, width)
    axes = []
    for axis, (size, before) in enumerate(((height, pads[0]), (width, pads[1]))):
        used = {
            (phase, tap): phase - r * (tap - before)
            for phase in range(r)
            for tap in range(size)
            if np.any(np.take(np.take(phases, phase, axis), tap, 3 + axis))
        }
        axes.append((used, -min(used.values()), max(used.values())))
    (rows, top, last_row), (columns, left, last_column) = axes
    weight = np.zeros((channels, out, top + last_row + 1, left + last_column + 1), np.float32)
    for (a, i), row in rows.items():
        for (b, j), col in columns.items():
            weight[:, :, row + top, col + left] += phases[a, b, :, :, i, j].T
    # the output is r times the input: (h - 1)*r + k - before - after = h*r
    return weight, (top, left, weight.shape[2] - r - top, weight.shape[3] - r - left)
