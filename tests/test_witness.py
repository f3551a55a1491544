"""Devices are held to the picture in a plan: what is near passes, what is another picture does not, nothing is lost."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import numpy as np
import pytest

from srgan_trt.errors import DeviceError, PlanError
from srgan_trt.witness import Witness

from .handmade import noise


def apart(levels: int) -> Witness:
    """Of a plan whose own arithmetic is that many levels from the exact network's in every value."""
    exact = noise(16, 20) // 2 + 60
    return Witness.of(noise(4, 5), exact=exact, plan=exact + np.uint8(levels))


def test_fidelity_is_of_the_plan_s_own_arithmetic() -> None:
    assert apart(2).fidelity == pytest.approx(20 * np.log10(255 / 2), abs=0.01)
    assert apart(0).fidelity == 99


def test_it_comes_back_from_its_text() -> None:
    one = apart(1)
    other = Witness.from_json(one.to_json())
    assert np.array_equal(other.picture, one.picture)
    assert np.array_equal(other.expected, one.expected)
    assert other.fidelity == one.fidelity


@pytest.mark.parametrize(("levels", "given"), [(0, 0), (0, 1), (1, 1), (2, 2), (4, 5), (1, 0)])
def test_what_is_about_as_near_passes(levels: int, given: int) -> None:
    witness = apart(levels)
    witness.check(witness.expected + np.uint8(given), what="this CPU")


@pytest.mark.parametrize(("levels", "given"), [(0, 2), (1, 3), (4, 6)])
def test_another_picture_is_refused_with_its_decibels(levels: int, given: int) -> None:
    witness = apart(levels)
    found = 20 * np.log10(255 / given)
    with pytest.raises(DeviceError, match=rf"this CPU gives another picture .*: {found:.1f} dB.* use a plan in fp32"):
        witness.check(witness.expected + np.uint8(given), what="this CPU")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("fidelity"),
        lambda content: content["picture"].update(shape=[4, 6, 3]),
        lambda content: content["expected"].update(zlib="bm90aGluZw=="),
        lambda content: content["expected"].update(zlib="?"),
        lambda content: content["picture"].update(shape=[4, 5]),
        lambda content: content["picture"].update(shape=[-4, -5, 3]),
        lambda content: content["picture"].update(shape=["4", 5, 3]),
        lambda content: content["picture"].update(shape=3),
        lambda content: content.update(picture=[]),
    ],
)
def test_a_damaged_one_is_said(change: object) -> None:
    content = json.loads(apart(1).to_json())
    change(content)  # type: ignore[operator]
    with pytest.raises(PlanError, match="is damaged"):
        Witness.from_json(json.dumps(content))


def test_it_unpacks_to_what_its_shape_says_and_no_more() -> None:
    """A plan of a megabyte may hold gigabytes."""
    content = json.loads(apart(1).to_json())
    content["picture"]["zlib"] = base64.b64encode(zlib.compress(bytes(1 << 28), 9)).decode()
    text = json.dumps(content)
    tracemalloc.start()
    with pytest.raises(PlanError, match="is damaged"):
        Witness.from_json(text)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
    content["picture"]["shape"] = [10240, 30720, 3]
    with pytest.raises(PlanError, match="a picture of 10240x30720x3"):
        Witness.from_json(json.dumps(content))
