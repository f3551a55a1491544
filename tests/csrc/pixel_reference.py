"""What pack and unpack must give, written once more in plain NumPy; results are compared exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]


def fused(a: NDArray[np.float32], b: float, c: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """float32 ``a*b + c`` rounded once, as fmaf.

    In float64 the product of two float32 is exact, the sum is not, and rounding it a second time to float32 could go
    wrong at a tie. So the sum is rounded to odd, which makes the second rounding harmless (Boldo and Melquiond,
    "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
    """
    with np.errstate(all="ignore"):
        product = np.asarray(a, np.float32).astype(np.float64) * np.float64(np.float32(b))
        addend = np.asarray(c, np.float32).astype(np.float64)
        total = np.asarray(product + addend)
        virtual = total - product
        error = (product - (total - virtual)) + (addend - virtual)
        # An inexact sum with an even mantissa moves one step towards the exact one: that neighbour is odd.
        even = (total.view(np.int64) & 1) == 0
        inexact = np.isfinite(total) & np.isfinite(error) & (error != 0)
        odd = np.where(inexact & even, np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total)
        return odd.astype(np.float32)


def pack(image: Image, height: int, width: int, *, y: int, x: int, scale: float, bias: float) -> NDArray[np.float32]:
    rows = [min(max(y + i, 0), image.shape[0] - 1) for i in range(height)]
    columns = [min(max(x + j, 0), image.shape[1] - 1) for j in range(width)]
    window = image[np.ix_(rows, columns)].astype(np.float32)
    return np.broadcast_to(fused(window, scale, bias).transpose(2, 0, 1), (3, height, width))


def shuffled(tensor: NDArray[np.float32], r: int) -> NDArray[np.float32]:
    """(3*r*r, h, w) -> (h*r, w*r, 3), TensorFlow's depth_to_space."""
    _, h, w = tensor.shape
    return tensor.reshape(r, r, 3, h, w).transpose(3, 0, 4, 1, 2).reshape(h * r, w * r, 3)


def levels(values: NDArray[np.float32], dtype: np.dtype, channels: int, *, scale: float, bias: float) -> Image:
    """(h, w, 3) network values -> (h, w, channels) levels."""
    highest = np.float32(np.iinfo(dtype).max)
    positions = fused(values, scale, bias)
    positions = np.clip(np.where(np.isnan(positions), np.float32(0), positions), np.float32(0), highest)
    if channels == 1:
        red, green, blue = np.moveaxis(positions, -1, 0)
        luma = fused(red, 0.299, fused(green, 0.587, np.float32(0.114) * blue))
        positions = np.minimum(luma, highest)[..., None]
    return np.rint(positions).astype(dtype)


def unpack(
    tensor: NDArray[np.float32],
    image: Image,
    *,
    shuffle: int,
    top: int,
    left: int,
    y: int,
    x: int,
    height: int,
    width: int,
    scale: float,
    bias: float,
) -> int:
    region = shuffled(tensor, shuffle)[top : top + height, left : left + width]
    image[y : y + height, x : x + width] = levels(region, image.dtype, image.shape[2], scale=scale, bias=bias)
    return int(np.count_nonzero(~np.isfinite(region)))
