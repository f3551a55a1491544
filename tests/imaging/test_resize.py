"""Resizing: Pillow's bicubic of the whole, in 8 and 16 bits, whatever the bands and the pieces it is given."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from srgan_trt.imaging import resize as resize_module
from srgan_trt.imaging.resize import resize, resize_rows, rows_needed

from ..handmade import differences, noise


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(92, 124), (11, 15), (1, 1), (23, 31), (40, 9)])
def test_it_is_the_bicubic_of_the_whole(dtype: type, size: tuple[int, int]) -> None:
    image = noise(23, 31, dtype=dtype)
    result = resize(image, *size)
    assert (result.shape, result.dtype) == ((*size, 3), dtype)
    for channel in range(3):
        whole = Image.fromarray(image[:, :, channel].astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
        wanted = np.clip(np.rint(np.asarray(whole)), 0, np.iinfo(dtype).max)
        np.testing.assert_array_equal(result[:, :, channel], wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (333, 401)])
def test_what_is_constant_stays_exact(dtype: type, size: tuple[int, int]) -> None:
    for level in (0, 1, 127, np.iinfo(dtype).max):
        for height, width in ((size[0] * 4, size[1] * 4), (-(-size[0] // 3), -(-size[1] // 2))):
            assert (resize(np.full((*size, 1), level, dtype), height, width) == level).all()


@pytest.mark.parametrize("height", [301 * 4, 517, 150, 7])
def test_bands_and_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    image = noise(301, 40)
    whole = resize(image, height, 30)
    monkeypatch.setattr(resize_module, "bands", lambda rows, _: [(a, min(a + 7, rows)) for a in range(0, rows, 7)])
    assert differences(resize(image, height, 30), whole).max() <= 1
    out = np.empty((height // 2, 30, 3), np.uint8)
    first, last = rows_needed(height // 3, height // 3 + height // 2, source=301, target=height)
    resize_rows(image[first:last], out, first=first, source=301, top=height // 3, target=height)
    assert differences(out, whole[height // 3 : height // 3 + height // 2]).max() <= 1


def test_memory_stays_flat() -> None:
    image = np.zeros((6000, 3000, 1), np.uint8)
    tracemalloc.start()
    result = resize(image, 3000, 1500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + 80e6
