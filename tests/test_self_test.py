"""Devices are held to the picture in a plan: what is near passes, what is another picture does not, nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.codec import decode, encode
from srgan_trt.errors import DeviceError, PlanError
from srgan_trt.self_test import SelfTest

from .handmade import noise


def apart(levels: int) -> SelfTest:
    """Of a plan whose own arithmetic is that many levels from the exact network's in every value."""
    exact = noise(16, 20) // 2 + 60
    return SelfTest.of(noise(4, 5), exact=exact, plan=exact + np.uint8(levels))


def test_fidelity_is_of_the_plan_s_own_arithmetic() -> None:
    assert apart(2).fidelity == pytest.approx(20 * np.log10(255 / 2), abs=0.01)
    assert apart(0).fidelity == 99


def test_it_comes_back_from_its_text() -> None:
    one = apart(1)
    other = decode(encode(one), SelfTest)
    assert np.array_equal(other.picture, one.picture)
    assert np.array_equal(other.expected, one.expected)
    assert other.fidelity == one.fidelity


@pytest.mark.parametrize(("levels", "given"), [(0, 0), (0, 1), (1, 1), (2, 2), (4, 5), (1, 0)])
def test_what_is_about_as_near_passes(levels: int, given: int) -> None:
    self_test = apart(levels)
    self_test.check(self_test.expected + np.uint8(given), what="this CPU")


@pytest.mark.parametrize(("levels", "given"), [(0, 2), (1, 3), (4, 6)])
def test_another_picture_is_refused_with_its_decibels(levels: int, given: int) -> None:
    self_test = apart(levels)
    found = 20 * np.log10(255 / given)
    with pytest.raises(DeviceError, match=rf"this CPU fails the plan's self-test: {found:.1f} dB.* use a plan in fp32"):
        self_test.check(self_test.expected + np.uint8(given), what="this CPU")


def test_pictures_that_do_not_belong_together_are_said() -> None:
    apart(1).check_fit(4)
    with pytest.raises(PlanError, match="not x2"):
        apart(1).check_fit(2)
