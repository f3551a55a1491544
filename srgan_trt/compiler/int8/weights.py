"""Weights to int8, and the bias that takes up what quantisation does to the mean.

Bias correction is Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019
(arXiv 1906.04721), section 4.2. Weights are rounded to the nearest: rounding them by the errors they make in the output
(Frantar et al., "GPTQ", ICLR 2023, arXiv 2210.17323), from weights moved to where they do best on quantised inputs,
cost the networks that it was measured on 0.5 to 2 dB on pictures that it had not seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..reference import Floats
from .ranges import LEVELS


def weight_scales(weight: Floats) -> Floats:
    """(O,): what one level stands for in each output channel of ``weight`` (O, C, k, l).

    Fine enough that the largest weight is level 127 at most, and coarse enough that no processor overflows: x86 without
    VNNI multiplies the bytes of two neighbouring input channels and adds both products in 16 bits, which saturate where
    the two levels together pass 128 (255 * 128 < 2^15).
    """
    out, channels = weight.shape[:2]
    even = np.zeros((out, channels + channels % 2, *weight.shape[2:]), np.float32)
    even[:, :channels] = weight
    pairs = even.reshape(out, -1, 2, *weight.shape[2:])
    up, down = np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2)
    # not 128: each of the two may be rounded up
    peak = np.maximum(up, down).reshape(out, -1).max(axis=1)
    return np.where(peak > 0, peak / LEVELS, 1.0).astype(np.float32)


def nearest(weight: Floats, scales: Floats) -> NDArray[np.int8]:
    """Levels of ``weight`` (O, taps), each rounded for itself."""
    levels: NDArray[np.int8] = np.clip(np.rint(weight / scales[:, None]), -LEVELS, LEVELS).astype(np.int8)
    return levels


def corrected_bias(
    bias: Floats | None, weight: Floats, rounded: Floats, exact: Floats, quantised: Floats, trust: Floats
) -> Floats:
    """``bias`` (O,) plus the mean of what quantisation takes from each output; None counts as zeros.

    ``trust`` (P, 1) weighs the patches.
    """
    share = (trust / trust.sum()).reshape(1, -1)
    lost: Floats = ((share @ exact) @ weight.T - (share @ quantised) @ rounded.T)[0].astype(np.float32)
    return lost if bias is None else lost + bias
