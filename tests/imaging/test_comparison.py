"""Two pictures side by side: whole, and where they differ most."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.imaging.comparison import compare

from ..handmade import noise


def test_the_part_that_differs_most_is_shown_pixel_by_pixel() -> None:
    first = noise(300, 500, seed=1)
    second = first.copy()
    second[60:90, 310:340] = 255 - second[60:90, 310:340]
    sheet = np.asarray(compare(first, second, names=("bicubic", "ours")))
    # Below the whole pictures: 200 x 200 pixels, four times as large, that hold the difference.
    parts = sheet[30 + 300 + 16 :][:800]
    left, right = parts[:, 16:816][::4, ::4], parts[:, 832:1632][::4, ::4]
    assert (left != right).any(axis=2).sum() == (first != second).any(axis=2).sum()
    rows, columns = np.nonzero((left != right).any(axis=2))
    top, across = 60 - rows.min(), 310 - columns.min()
    np.testing.assert_array_equal(left, first[top : top + 200, across : across + 200])
    np.testing.assert_array_equal(right, second[top : top + 200, across : across + 200])


def test_whole_pictures_stand_above_and_large_ones_are_made_smaller() -> None:
    first = noise(40, 60, seed=1)
    small = np.asarray(compare(first, first))
    assert small.shape == (30 + 40 + 2 * 16 + 40 * 4, 3 * 16 + 2 * 240, 3)
    inner = (slice(34, 66), slice(20, 72))  # without the frame
    np.testing.assert_array_equal(small[inner], first[4:36, 4:56])
    assert compare(noise(10, 2000, seed=1), noise(10, 2000, seed=2)).width == 3 * 16 + 2 * 800


@pytest.mark.parametrize("other", [np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8)])
def test_what_cannot_be_compared_is_refused(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"not (compared|shown)"):
        compare(np.zeros((8, 8, 3), np.uint8), other)


def test_large_pictures_are_searched_in_steps() -> None:
    first = np.zeros((100, 9000, 3), np.uint8)
    second = first.copy()
    second[40:60, 7000:7100] = 255
    sheet = np.asarray(compare(first, second))
    right = sheet[:, sheet.shape[1] // 2 :]
    assert (right[30 + 9 + 16 :] == 255).all(axis=2)[:200, :800].sum() < 800 * 200
    assert (sheet[-16 - 50 * 4 - 1, sheet.shape[1] // 2 + 8 :] == 255).all(axis=1).sum() >= 400
