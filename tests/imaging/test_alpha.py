"""Transparency: no fringes from invisible colours, and alpha exact where it is constant."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from srgan_trt.imaging import alpha as alpha_module
from srgan_trt.imaging.alpha import fill_transparent
from srgan_trt.imaging.resize import resize

RNG = np.random.default_rng(14)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_visible_pixels_are_kept_and_filled_ones_stay_within_the_visible_colours(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    pixels = data.draw(arrays(dtype, (height, width, data.draw(st.sampled_from([1, 3])))))
    alpha = data.draw(arrays(dtype, (height, width)))
    before = pixels.copy()
    filled = fill_transparent(pixels, alpha)
    np.testing.assert_array_equal(pixels, before)
    visible = alpha > 0
    np.testing.assert_array_equal(filled[visible], pixels[visible])
    if visible.any():
        assert (filled >= pixels[visible].min(axis=0)).all()
        assert (filled <= pixels[visible].max(axis=0)).all()
    else:
        assert filled is pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_single_visible_colour_fills_everything(dtype: type) -> None:
    pixels = np.zeros((37, 53, 3), dtype)
    alpha = np.zeros((37, 53), dtype)
    pixels[20, 7], alpha[20, 7] = (200, 100, 50), 1
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), np.broadcast_to(pixels[20, 7], pixels.shape))


def test_an_edge_does_not_bleed_when_it_is_resampled() -> None:
    # A red disc on transparent black: bicubic x4 of the filled picture must stay red wherever anything shows.
    y, x = np.mgrid[:64, :64]
    alpha = np.where((y - 32) ** 2 + (x - 32) ** 2 < 400, 255, 0).astype(np.uint8)
    pixels = np.where(alpha[:, :, None] > 0, np.array([220, 30, 40]), 0).astype(np.uint8)

    def enlarged(levels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(levels).resize((256, 256), Image.Resampling.BICUBIC)).astype(int)

    shows = resize(alpha[:, :, None], 256, 256)[:, :, 0] > 0
    assert np.abs(enlarged(fill_transparent(pixels, alpha))[shows] - [220, 30, 40]).max() == 0
    assert np.abs(enlarged(pixels)[shows] - [220, 30, 40]).max() > 100


def test_the_fill_continues_smoothly() -> None:
    # A horizontal ramp with a hole: no step inside the hole is much larger than the ramp's span over its width.
    ramp = np.broadcast_to(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], (64, 128, 3)).copy()
    alpha = np.full((64, 128), 255, np.uint8)
    alpha[16:48, 48:80] = 0
    filled = fill_transparent(ramp, alpha).astype(int)
    assert np.abs(np.diff(filled, axis=1)).max() <= 16
    assert np.abs(np.diff(filled, axis=0)).max() <= 24


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = RNG.integers(0, 256, (301, 203, 3), np.uint8)
    alpha = (RNG.random((301, 203)) > 0.7).astype(np.uint8) * 255
    alpha[50:200, 30:180] = 0
    whole = fill_transparent(pixels, alpha)
    in_bands = lambda height, _: [(top, min(top + 7, height)) for top in range(0, height, 7)]  # noqa: E731
    monkeypatch.setattr(alpha_module, "bands", in_bands)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), whole)


def test_memory_stays_flat() -> None:
    alpha = np.zeros((1500, 1200), np.uint8)
    alpha[::2] = 255
    pixels = np.zeros((1500, 1200, 3), np.uint8)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fill_transparent(pixels, alpha)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 2.5 * pixels.nbytes + 12e6
