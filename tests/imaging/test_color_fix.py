"""`color_fix`: low frequencies are the source's, detail stays the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.imaging.color_fix import fix_colours
from srgan_trt.imaging.resize import resize

from ..handmade import noise


def smooth(height: int, width: int, *, dtype: Any = np.uint8) -> Any:
    top = np.iinfo(dtype).max
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = [rows / height, columns / width, (rows + columns) / (height + width)]
    return (np.stack(ramps, axis=2) * 0.6 * top + 0.2 * top).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(64, 96), (37, 41), (3, 2)])
def test_a_shift_is_taken_back(size: tuple[int, int], dtype: Any) -> None:
    source = smooth(*size, dtype=dtype)
    true = resize(source, 4 * size[0], 4 * size[1])
    unit = np.iinfo(dtype).max // 255
    shifted = (true + np.array([9, -6, 3]) * unit).astype(dtype)
    fix_colours(shifted, source)
    apart = np.abs(shifted.astype(int) - true.astype(int)) / unit
    assert apart.max() <= 2
    assert apart.mean() < 0.5


def test_a_shift_that_grows_over_the_picture_too() -> None:
    source = smooth(80, 120)
    true = resize(source, 320, 480)
    shifted = (true + np.linspace(0, 12, 480)[None, :, None]).astype(np.uint8)
    fix_colours(shifted, source)
    assert np.abs(shifted.astype(int) - true)[8:-8, 8:-8].max() <= 2


def test_what_has_its_sources_colours_is_left_alone() -> None:
    source = noise(40, 48)
    large = source.repeat(4, axis=0).repeat(4, axis=1)
    before = large.copy()
    fix_colours(large, source)
    np.testing.assert_array_equal(large, before)


def test_detail_stays() -> None:
    """Texture that the network made, of no mean, is not flattened."""
    source = np.full((32, 32, 3), 100, np.uint8)
    texture = np.where(np.indices((128, 128)).sum(axis=0) % 2, 20, -20)[:, :, None]
    large = (105 + texture).repeat(3, axis=2).astype(np.uint8)
    fix_colours(large, source)
    np.testing.assert_array_equal(large, (100 + texture).repeat(3, axis=2))


def test_levels_end_at_black_and_white() -> None:
    source = np.full((16, 16, 1), 255, np.uint8)
    large = np.full((64, 64, 1), 250, np.uint8)
    large[0, 0] = 254
    fix_colours(large, source)
    assert large.min() == 255


def test_a_network_of_other_people_that_shifts(shared_images: Path, shared_models: Path) -> None:
    """honeyrocky's moves blue by up to four levels in the mean, and its plan says so."""
    from srgan_trt.resolve import open_plan
    from srgan_trt.upscaler import Upscaler

    pytest.importorskip("tensorflow")
    plan = open_plan(shared_models / "honeyrocky_x4.h5", trust_model=True)
    assert plan.report["shift"][2] > 2
    assert any("it shifts colours, a channel's mean by 2." in note for note in plan.report["notes"])
    photo = next((shared_images / "test" / "BSD100" / "LRx4").glob("*.png"))
    image = np.asarray(Image.open(photo).convert("RGB"))[:96, :96]
    shifts = []
    for fixed in (False, True):
        with Upscaler(plan, precision="fp32", color_fix=fixed) as up:
            shifts.append(np.abs(up(image).mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max())
    assert shifts[0] > 1.5
    assert shifts[1] < 0.5
