"""The self-test of a plan: a small picture and what the exact network gives for it; a device must reproduce it.

A plan in int8 is judged by its own arithmetic on the machine that builds it. What a device's library makes of it on
another machine is another matter (docs/architecture.md has a case), so whoever compiles such a plan runs this picture
first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import OtherPictureError, PlanError

_ENOUGH = 45.0
"""dB from the exact network that do for every device: what the gate of int8 asks for."""
_ALLOWANCE = 3.0
"""dB less than the plan's own arithmetic that do: sums in another order fall to other levels, and what is not in int8
may be in bfloat16."""

Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class SelfTest:
    """A known-answer test."""

    picture: Levels
    """uint8 (h, w, 3), of a size that the network takes at once."""
    expected: Levels
    """uint8 (h*scale, w*scale, 3), the exact network's."""
    fidelity: float
    """dB between that and what the plan's own arithmetic gives, both in whole levels."""

    @classmethod
    def of(cls, picture: Levels, *, exact: Levels, plan: Levels) -> SelfTest:
        """exact, plan: what the exact network and the plan's arithmetic give for `picture`, whole levels."""
        return cls(picture, exact, round(_decibels(plan, exact), 2))

    def check(self, result: Levels, *, what: str) -> None:
        """Raises OtherPictureError if `result`, which `what` gave for the picture, is too far from `expected`."""
        found = _decibels(result, self.expected)
        if not found >= min(_ENOUGH, self.fidelity - _ALLOWANCE):
            raise OtherPictureError(
                f"{what} fails the plan's self-test: {found:.1f} dB from the exact network's picture, not "
                f"{self.fidelity:.1f}; use a plan in fp32 here"
            )

    def check_fit(self, scale: int) -> None:
        """Raises PlanError if these are not two pictures of which one is `scale` times as large."""
        if self.picture.ndim != 3 or self.picture.shape[2] != 3:
            raise PlanError(f"its self-test has a picture of shape {self.picture.shape}; build it again")
        height, width, _ = self.picture.shape
        if self.expected.shape != (height * scale, width * scale, 3):
            raise PlanError(
                f"its self-test has a picture of {width}x{height} and expects "
                f"{self.expected.shape}, not x{scale}; build it again"
            )


def _decibels(mine: Levels, other: Levels) -> float:
    """PSNR over all colours; 99 of equal ones."""
    error = float(np.square(mine.astype(np.float64) - other).mean())
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))
