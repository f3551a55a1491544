"""The default halo keeps the picture within half a level; the full one is the fallback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srgan_trt.compiler.halo import measure_halo

Floats = NDArray[np.float32]


def blur(weight: float, reach: int) -> object:
    """Adds ``weight`` of the pixel ``reach`` columns away, zero beyond the border."""

    def network(batch: Floats) -> Floats:
        moved = np.zeros_like(batch)
        moved[..., reach:] = batch[..., :-reach]
        return (batch + weight * moved).astype(np.float32)

    return network


def halo(weight: float, reach: int, *, full: int) -> int:
    return measure_halo(
        blur(weight, reach),  # type: ignore[arg-type]
        full=full,
        scale=1,
        multiple=1,
        input_range=(0.0, 1.0),
        output_range=(0.0, 2.0),
    )


def test_influence_too_weak_to_see_costs_nothing() -> None:
    assert halo(0.001, 20, full=24) == 2


def test_influence_that_shows_is_covered() -> None:
    assert halo(0.5, 9, full=24) == 10


def test_the_whole_receptive_field_where_nothing_less_does() -> None:
    assert halo(0.5, 21, full=22) == 22
