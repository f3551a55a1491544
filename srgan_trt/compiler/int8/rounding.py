"""Weights to int8 with the least error in what the convolution gives, rather than in the weights.

One tap after the other is rounded, and what that does to the output is made good by those not yet rounded: Frantar et
al., "GPTQ: accurate post-training quantization for generative pre-trained transformers", ICLR 2023 (arXiv 2210.17323),
section 3. The taps are first moved to where they do best on the *quantised* input, which takes up part of its error,
and the bias takes up the mean of what is left, channel by channel: Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019 (arXiv 1906.04721), section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..oracle import Floats
from .ranges import LEVELS

_DAMPING = 0.01
"""Of the mean of the diagonal: keeps what 4096 patches cannot tell near the trained weights."""
_BLOCK = 64
_MOST_TAPS = 3000
"""Beyond, the patches are too few and the factorisation too slow: taps are rounded to the nearest."""


def weight_scales(weight: Floats) -> Floats:
    """(O,): what one level stands for in each row of ``weight`` (O, taps)."""
    peak = np.abs(weight).max(axis=1)
    return np.where(peak > 0, peak / LEVELS, 1.0).astype(np.float32)


def nearest(weight: Floats, scales: Floats) -> NDArray[np.int8]:
    """Levels of ``weight`` (O, taps), each rounded for itself."""
    levels: NDArray[np.int8] = np.clip(np.rint(weight / scales[:, None]), -LEVELS, LEVELS).astype(np.int8)
    return levels


def fitted(
    weight: Floats, exact: Floats, quantised: Floats, *, damping: float = _DAMPING
) -> tuple[NDArray[np.int8], Floats]:
    """(levels int8 (O, taps), scales (O,)) such that ``quantised @ levels.T * scales`` is near ``exact @ weight.T``.

    ``exact`` and ``quantised`` are (P, taps): the same patches before and after quantisation.
    """
    taps = weight.shape[1]
    if taps > _MOST_TAPS:
        scales = weight_scales(weight)
        return nearest(weight, scales), scales
    gram = (quantised.T @ quantised).astype(np.float64)
    ridge = damping * float(np.trace(gram)) / taps + 1e-12
    gram[np.diag_indices(taps)] += ridge
    # least squares on the quantised input, held to the trained weights where the patches do not tell
    target = (weight.astype(np.float64) @ (exact.T @ quantised).astype(np.float64)) + ridge * weight
    moved = np.linalg.solve(gram, target.T).T
    scales = weight_scales(moved.astype(np.float32))
    return _rounded(moved, gram, scales), scales


def _rounded(weight: NDArray[np.float64], gram: NDArray[np.float64], scales: Floats) -> NDArray[np.int8]:
    taps = weight.shape[1]
    # most important taps first: what is rounded last has nobody to make it good
    order = np.argsort(-np.diag(gram))
    weight = weight[:, order].copy()
    inverse = np.linalg.inv(gram[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    levels = np.zeros(weight.shape, np.int8)
    steps = scales.astype(np.float64)
    for start in range(0, taps, _BLOCK):
        end = min(taps, start + _BLOCK)
        errors = np.zeros((len(weight), end - start))
        for tap in range(start, end):
            level = np.clip(np.rint(weight[:, tap] / steps), -LEVELS, LEVELS)
            levels[:, tap] = level
            errors[:, tap - start] = (weight[:, tap] - level * steps) / upper[tap, tap]
            weight[:, tap + 1 : end] -= np.outer(errors[:, tap - start], upper[tap, tap + 1 : end])
        weight[:, end:] -= errors @ upper[start:end, end:]
    back = np.empty_like(levels)
    back[:, order] = levels
    return back


def corrected_bias(
    bias: Floats | None, weight: Floats, rounded: Floats, exact: Floats, quantised: Floats, trust: Floats
) -> Floats:
    """``bias`` (O,) plus the mean of what quantisation takes from each output; None counts as zeros.

    ``trust`` (P, 1) weighs the patches.
    """
    share = (trust / trust.sum()).reshape(1, -1)
    lost: Floats = ((share @ exact) @ weight.T - (share @ quantised) @ rounded.T)[0].astype(np.float32)
    return lost if bias is None else lost + bias
