"""The learning rate over a training."""

from __future__ import annotations

import math

WARM_UP = 500
"""Steps, at most a tenth of all, over which the learning rate rises: Adam's averages start empty."""
FLOOR = 0.01
"""Share of the peak at the last step."""


def learning_rate(step: int, *, peak: float, steps: int) -> float:
    """The rate at `step` of `steps`: a linear rise to `peak`, then half a cosine down (arXiv 1608.03983)."""
    rise = min(WARM_UP, steps // 10)
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
