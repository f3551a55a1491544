"""How close two pictures are, by the super-resolution field's protocol: PSNR and SSIM of the luma, borders cut off.

Luma is BT.601's Y in studio levels, 16 to 235, of MATLAB's ``rgb2ycbcr``, kept in float64 rather than rounded to
levels (which is worth 0.01 dB). The peak is 255 all the same. Scores on RGB, or on full-range luma, are another thing
and lower.

Of SSIM the field prints two kinds, apart by up to 0.03: most papers Wang's (`ssim`), the SRGAN paper that of the Daala
video tools (`paper_ssim`). Bicubic on Set5 at x4 has 0.810 in the first, 0.821 in the second; never mix them.

The arithmetic is our own because no package that we need anyway has it: scikit-image has SSIM, not the protocol, and
would bring SciPy along at run time. The tests hold it against scikit-image's, and against published figures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WINDOW = 11
"""Side of SSIM's Gaussian window, in pixels: what is compared is no smaller, whatever the score."""
_SIGMA = 1.5
_WHOLE = 256
_PEAK = 255.0
_BT601 = np.array([65.481, 128.553, 24.966]) / 255
"""Weights of R, G and B in studio luma (ITU-R BT.601-7, section 2.5.1): they lead from 0..255 to 16..235."""
_BAND_PIXELS = 1 << 16
"""Pixels of SSIM's map that are made at once: its parts stay in a core's cache."""


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """BT.601 studio luma, float64 (H, W), 16 to 235, of ``image``, uint8 RGB (H, W, 3).

    Raises ValueError for arrays of another kind.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an array of {image.dtype}, {image.shape}, is not measured: give uint8 (height, width, 3)")
    return np.asarray(image @ _BT601 + 16)


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8], *, border: int) -> float:
    """Peak signal-to-noise ratio of two pictures' luma, in dB; infinite for equal ones.

    Both are uint8 RGB (H, W, 3); ``border`` pixels of each side are not counted. Raises ValueError if the shapes differ
    or nothing is left to count.
    """
    one, other = _inner(first, second, border, least=1)
    error = float(np.square(one - other).mean())
    return float(10 * math.log10(_PEAK**2 / error)) if error else math.inf


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8], *, border: int) -> float:
    """Structural similarity of two pictures' luma: 1 for equal ones, 0 for unrelated ones.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE Trans. Image
    Processing 13(4), 2004, section III-C: the mean over all places where an 11x11 Gaussian window of sigma 1.5 lies
    within the picture, with K1 = 0.01 and K2 = 0.03. (The smaller copy that its authors' later program makes of large
    pictures is not made, nor does the field.)

    Both are uint8 RGB (H, W, 3); ``border`` pixels of each side are not seen. Raises ValueError if the shapes differ or
    less than the window is left.
    """
    one, other = _inner(first, second, border, least=WINDOW)
    ones = [np.ones(side - WINDOW + 1) for side in one.shape]
    return _similarity(one, other, _gaussian(_SIGMA, WINDOW // 2), *ones)


def paper_ssim(first: NDArray[np.uint8], second: NDArray[np.uint8], *, border: int) -> float:
    """SSIM as the SRGAN paper prints it (Ledig et al., CVPR 2017, section 3.1): by the tools of the Daala video codec.

    There the window's sigma is 1.5 pixels for each 256 of the picture's height, its weights are whole 256ths, and it
    also goes where it lies partly outside the picture: there only the part inside counts, and such places weigh less in
    the mean (tools/dump_ssim.c of xiph/daala). Arguments and errors are those of `ssim`.
    """
    one, other = _inner(first, second, border, least=WINDOW)
    sigma = one.shape[0] * _SIGMA / 256
    taps = _whole_gaussian(sigma, most=min(one.shape) - 1) / _WHOLE
    reach = len(taps) // 2
    inside = [np.convolve(np.ones(side), taps)[reach : reach + side] for side in one.shape]
    return _similarity(np.pad(one, reach), np.pad(other, reach), taps, *inside)


def _inner(
    first: NDArray[np.uint8], second: NDArray[np.uint8], border: int, *, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if first.shape != second.shape:
        raise ValueError(f"pictures of {first.shape} and {second.shape} are not compared: crop one to the other")
    height, width = first.shape[:2]
    if border < 0 or min(height, width) < least + 2 * border:
        raise ValueError(
            f"pictures of {width} x {height} pixels are too small for a border of {border}: "
            f"{least + 2 * border} pixels are the least"
        )
    inner = (slice(border, height - border), slice(border, width - border))
    return luma(first)[inner], luma(second)[inner]


def _similarity(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    taps: NDArray[np.float64],
    inside_rows: NDArray[np.float64],
    inside_columns: NDArray[np.float64],
) -> float:
    """Mean SSIM over all places of a window in arrays (H, W): its weights are those of ``taps`` along either side.

    ``inside_rows`` (H - len(taps) + 1) and ``inside_columns`` are the share of the window that the picture fills, by
    the place; outside the picture the arrays are 0.
    """
    stable_mean, stable_spread = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    total = 0.0
    band = max(1, _BAND_PIXELS // x.shape[1])
    for top in range(0, len(inside_rows), band):
        inside = np.outer(inside_rows[top : top + band], inside_columns)
        part = slice(top, top + len(inside) + len(taps) - 1)
        a, b = x[part], y[part]
        mean_a, mean_b = _blurred(a, taps) / inside, _blurred(b, taps) / inside
        means, squares = mean_a * mean_b, mean_a**2 + mean_b**2
        # The two variances are needed as a sum only: one blur instead of two.
        variances = _blurred(a**2 + b**2, taps) / inside - squares
        covariance = _blurred(a * b, taps) / inside - means
        numerator = (2 * means + stable_mean) * (2 * covariance + stable_spread)
        denominator = (squares + stable_mean) * (variances + stable_spread)
        total += float((inside * numerator / denominator).sum())
    return total / float(inside_rows.sum() * inside_columns.sum())


def _gaussian(sigma: float, reach: int) -> NDArray[np.float64]:
    """Gaussian weights up to ``reach`` pixels from the middle, their sum 1."""
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum())


def _whole_gaussian(sigma: float, *, most: int) -> NDArray[np.float64]:
    """Gaussian weights in whole parts of ``_WHOLE``, which is their sum, as far as they are not 0; ``most`` either way.

    What rounding leaves over is the middle one's.
    """
    side = np.arange(1, most + 1)
    weights = np.rint(_WHOLE / (math.sqrt(2 * math.pi) * sigma) * np.exp(-0.5 * (side / sigma) ** 2))
    weights = weights[weights > 0]
    return np.concatenate([weights[::-1], [_WHOLE - 2 * weights.sum()], weights])


def _blurred(samples: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sums under the window, wherever it fits: along columns, then along rows."""
    height, width = (side - len(taps) + 1 for side in samples.shape)
    tall = np.zeros((height, samples.shape[1]))
    for tap, weight in enumerate(taps):
        tall += weight * samples[tap : tap + height]
    result = np.zeros((height, width))
    for tap, weight in enumerate(taps):
        result += weight * tall[:, tap : tap + width]
    return result
