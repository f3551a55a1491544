"""Bicubic as the field has it: its published low-resolution pictures, and the definition in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import enlarge, shrink

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PHOTO).convert("RGB"))


@pytest.mark.parametrize(("pictures", "scale"), [("Set5", 4), ("Set5", 2), ("BSD100", 4)])
def test_the_fields_low_resolution_pictures_come_out_to_the_level(
    shared_images: Path, pictures: str, scale: int
) -> None:
    folder = shared_images / "test" / pictures
    names = sorted(path.name for path in (folder / f"LRx{scale}").iterdir())
    assert len(names) in (5, 100)
    for name in names:
        high = np.asarray(Image.open(folder / "HR" / name))
        low = np.asarray(Image.open(folder / f"LRx{scale}" / name))
        high = high[: low.shape[0] * scale, : low.shape[1] * scale]
        np.testing.assert_array_equal(shrink(high, scale), low, err_msg=name)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_is_the_definition(photo: NDArray[np.uint8], scale: int) -> None:
    image = photo[40 : 40 + 5 * scale, 60 : 60 + 4 * scale]
    np.testing.assert_array_equal(shrink(image, scale), by_definition(image, Fraction(1, scale)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_is_the_definition(photo: NDArray[np.uint8], scale: int) -> None:
    image = photo[40:46, 60:65]
    np.testing.assert_array_equal(enlarge(image, scale), by_definition(image, Fraction(scale)))


def test_pictures_smaller_than_the_kernel_are_resized(photo: NDArray[np.uint8]) -> None:
    image = photo[40:44, 60:68, :1]
    np.testing.assert_array_equal(shrink(image, 4), by_definition(image, Fraction(1, 4)))
    np.testing.assert_array_equal(enlarge(image[:1, :2], 4), by_definition(image[:1, :2], Fraction(4)))


@pytest.mark.parametrize("level", [0, 1, 254, 255])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_one_colour_stays_that_colour(level: int, scale: int) -> None:
    image = np.full((12, 24, 3), level, np.uint8)
    assert shrink(image, scale).shape == (12 // scale, 24 // scale, 3)
    assert (shrink(image, scale) == level).all()
    assert (enlarge(image, scale) == level).all()


def test_scale_1_is_a_copy(photo: NDArray[np.uint8]) -> None:
    for resize in (shrink, enlarge):
        result = resize(photo, 1)
        np.testing.assert_array_equal(result, photo)
        assert not np.shares_memory(result, photo)


def test_results_are_contiguous_and_inputs_need_not_be(photo: NDArray[np.uint8]) -> None:
    view = photo[:80, :120][::-1, :, ::-1]
    assert not view.flags.c_contiguous
    for resize in (shrink, enlarge):
        result = resize(view, 4)
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, resize(np.ascontiguousarray(view), 4))


def test_sides_that_are_no_multiple_are_refused() -> None:
    with pytest.raises(ValueError, match="9 x 8 pixels"):
        shrink(np.zeros((8, 9, 3), np.uint8), 4)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(image: NDArray[np.uint8]) -> None:
    for resize in (shrink, enlarge):
        with pytest.raises(ValueError, match="uint8"):
            resize(image, 4)


def test_a_scale_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="scale of 0"):
        enlarge(np.zeros((8, 8, 3), np.uint8), 0)


def by_definition(image: NDArray[np.uint8], scale: Fraction) -> NDArray[np.uint8]:
    """Every result pixel from Keys' formula, one at a time, in fractions: columns first, then rows."""
    halfway = _columns(image, scale)
    return _columns(halfway.swapaxes(0, 1), scale).swapaxes(0, 1)


def _columns(image: NDArray[np.uint8], scale: Fraction) -> NDArray[np.uint8]:
    height = image.shape[0]
    stretch = min(scale, Fraction(1))
    result = np.empty((int(height * scale), *image.shape[1:]), np.uint8)
    for y in range(result.shape[0]):
        centre = (y + Fraction(1, 2)) / scale - Fraction(1, 2)
        weights = {row: _keys((centre - row) * stretch) for row in range(-40, height + 40)}
        total = sum(weights.values())
        for place in np.ndindex(image.shape[1:]):
            value = sum(
                weight * int(image[min(max(row, 0), height - 1)][place]) for row, weight in weights.items() if weight
            )
            level = value / total
            result[y][place] = min(max(int(level + Fraction(1, 2)), 0), 255) if level > 0 else 0
    return result


def _keys(x: Fraction) -> Fraction:
    x, a = abs(x), Fraction(-1, 2)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return Fraction(0)
