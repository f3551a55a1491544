"""Visible blocks: known steps give known numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.blocks import visible_blocks
from srgan_trt.quality.recipes import RECIPES

from ..training.photos import PHOTO


def blocks_of(side: int, *, step: int) -> np.ndarray:
    """A ramp of a level a pixel, and `step` levels more at each border of 16 pixels."""
    place = np.arange(side)
    levels = place[None, :] + step * (place[None, :] // 16)
    return np.repeat(np.broadcast_to(levels, (side, side))[..., None], 3, 2).astype(np.uint8)


def test_steps_at_the_borders_count_against_those_elsewhere() -> None:
    plain, blocky = blocks_of(64, step=0), blocks_of(64, step=7)
    assert visible_blocks(plain, plain, scale=2) == 0
    # Along rows every step is 1, or 8 at the 3 borders; along columns nothing changes: as many pixels of no step.
    assert visible_blocks(blocky, plain, scale=2) == pytest.approx(8 - 1)


def test_a_picture_without_steps_has_no_blocks() -> None:
    flat = np.full((64, 64, 3), 9, np.uint8)
    assert visible_blocks(flat, flat, scale=4) == 0


def test_an_enlarged_jpeg_has_more_of_them_than_a_clean_one() -> None:
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))[:256, :320]
    content, suffix = RECIPES["phone"].file(photo, scale=4, seed=0)
    assert suffix == ".jpg"
    import io

    jpeg = np.asarray(Image.open(io.BytesIO(content)))
    clean = visible_blocks(enlarge(shrink(photo, 4), 4), photo, scale=4)
    assert visible_blocks(enlarge(jpeg, 4), photo, scale=4) > clean + 0.1


def test_pictures_that_do_not_fit_are_refused() -> None:
    small = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="no border of blocks"):
        visible_blocks(small, small, scale=4)
    with pytest.raises(ValueError, match="not compared"):
        visible_blocks(small, small[:8], scale=1)
