"""How far the levels of an int8 tensor reach: wide ones clip nothing and are coarse, narrow ones the other way round.

The usual rules are candidates (largest value; percentiles; least squared error; least Kullback-Leibler divergence, as
Migacz, "8-bit inference with TensorRT", GTC 2017, has it), and, where these are far apart, steps between them: the
values of generators have long tails, and the best range may lie between two percentiles (6 dB, in the real SRGAN). The
error that each leaves in the convolution's *output* decides, layer by layer.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ..reference import Floats

LEVELS = 127
"""Largest level of a symmetric int8 tensor; -128 is not used, as TensorRT does not."""
_PERCENTILES = (99.999, 99.99, 99.9, 99.5, 99.0)
_STEP = 1.5
"""Ranges farther apart than this factor get others between them."""
_BINS = 2048
_GRID = np.geomspace(0.02, 1.0, 33)


def candidates(values: Floats, largest: float) -> dict[str, float]:
    """The range (largest value that a level stands for) by each rule, by its name; equal ones once.

    ``values`` is a sample of the tensor, of any shape; ``largest`` its largest absolute value, in the sample or not.
    """
    sizes = np.abs(values.reshape(-1))
    if largest <= 0:
        return {"min-max": 1.0}
    found = {"min-max": float(largest)}
    for percent, value in zip(_PERCENTILES, np.percentile(sizes, _PERCENTILES), strict=True):
        found[f"percentile {percent:g}"] = float(value)
    counts, edges = np.histogram(sizes, bins=_BINS, range=(0, largest))
    found["squared error"] = _least_squares(counts, edges)
    found["entropy"] = _least_divergence(counts, edges)
    least = largest * 1e-3
    kept: dict[str, float] = {}
    for rule, limit in found.items():
        if limit > least and all(abs(limit - other) > 0.01 * other for other in kept.values()):
            kept[rule] = limit
    return kept | _between(kept)


def _between(found: dict[str, float]) -> dict[str, float]:
    """Steps between neighbours of ``found`` that are far apart, named by the narrower one."""
    steps = {}
    for low, high in pairwise(sorted(found, key=lambda rule: found[rule])):
        count = math.ceil(math.log(found[high] / found[low]) / math.log(_STEP))
        for number in range(1, count):
            factor = (found[high] / found[low]) ** (number / count)
            steps[f"{low} x {factor:.2f}"] = found[low] * factor
    return steps


def fake_quantize(values: Floats, limit: float) -> Floats:
    """``values`` as symmetric int8 of range ``limit`` has them: rounded to levels, clipped."""
    scale = np.float32(limit / LEVELS)
    rounded: Floats = np.rint(values / scale)
    return np.clip(rounded, -LEVELS, LEVELS, out=rounded) * scale


def _least_squares(counts: np.ndarray, edges: np.ndarray) -> float:
    middles = (edges[1:] + edges[:-1]) / 2
    errors = [float((counts * np.square(fake_quantize(middles, edges[-1] * part) - middles)).sum()) for part in _GRID]
    return float(edges[-1] * _GRID[int(np.argmin(errors))])


def _least_divergence(counts: np.ndarray, edges: np.ndarray) -> float:
    """The range whose 128 levels tell most of the distribution."""
    best, limit = np.inf, edges[-1]
    for part in _GRID:
        end = max(LEVELS + 1, round(part * _BINS))
        kept = counts[:end].astype(np.float64)
        truth = kept.copy()
        truth[-1] += counts[end:].sum()
        level = np.minimum(np.arange(end) * (LEVELS + 1) // end, LEVELS)
        filled = kept > 0
        sums = np.bincount(level, weights=kept, minlength=LEVELS + 1)
        shares = np.bincount(level, weights=filled, minlength=LEVELS + 1)
        told = np.where(filled, sums[level] / np.maximum(shares[level], 1), 0)
        seen = (truth > 0) & (told > 0)
        p, q = truth / truth.sum(), told / max(told.sum(), 1)
        divergence = float((p[seen] * np.log(p[seen] / q[seen])).sum())
        if divergence < best:
            best, limit = divergence, edges[end]
    return float(limit)
