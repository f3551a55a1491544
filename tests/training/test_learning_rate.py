"""The learning rate: up, and down to nearly nothing."""

from __future__ import annotations

import pytest

from srgan_trt.training.learning_rate import FLOOR, WARM_UP, learning_rate


def test_it_rises_to_the_peak_and_falls_to_the_floor() -> None:
    rates = [learning_rate(step, peak=1e-3, steps=10_000) for step in range(10_000)]
    assert rates[0] == pytest.approx(1e-3 / WARM_UP)
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) in (WARM_UP - 1, WARM_UP)
    assert rates[:WARM_UP] == sorted(rates[:WARM_UP])
    assert rates[WARM_UP:] == sorted(rates[WARM_UP:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3 * FLOOR, rel=0.01)
    halfway = WARM_UP + (10_000 - WARM_UP) // 2
    assert rates[halfway] == pytest.approx(1e-3 * (1 + FLOOR) / 2)


@pytest.mark.parametrize("steps", [1, 2, 9, 30])
def test_short_trainings_have_rates_too(steps: int) -> None:
    assert all(0 < learning_rate(step, peak=1.0, steps=steps) <= 1 for step in range(steps))
