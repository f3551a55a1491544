"""compare(): what a notebook shows, and what is written."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import srgan_trt
from srgan_trt.errors import PictureError

from .handmade import noise


def pictures_of(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_a_page_has_everything_in_it() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], (30, 40, 3))
    page = srgan_trt.compare(smooth, 255 - smooth, names=("<mine>", "yours")).page()
    after, before = pictures_of(page)
    assert np.abs(before.astype(int) - smooth).max() < 12
    assert np.abs(after.astype(int) + smooth - 255).max() < 12
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page
    assert "http" not in page
    HTMLParser().feed(page)


def test_a_notebook_shows_the_same_slider() -> None:
    shown = srgan_trt.compare(noise(30, 40), noise(30, 40, seed=1))
    assert shown._repr_html_() in shown.page()
    assert 'type="range"' in shown._repr_html_()


@pytest.mark.parametrize("kind", ["array", "pillow", "path"])
def test_the_smaller_one_is_enlarged(tmp_path: Path, kind: str) -> None:
    small = noise(15, 20, 4)
    image = Image.fromarray(small)
    image.save(tmp_path / "small.png")
    first = {"array": small, "pillow": image, "path": tmp_path / "small.png"}[kind]
    shown = srgan_trt.compare(first, noise(60, 80, 1, dtype=np.uint16)[:, :, 0])
    assert [picture.shape for picture in pictures_of(shown.page())] == [(60, 80, 3)] * 2
    assert shown.sheet().width == 3 * 16 + 2 * 80 * 4


def test_a_large_picture_is_made_smaller_for_the_page() -> None:
    shown = srgan_trt.compare(np.zeros((10, 4000), np.uint8), np.zeros((10, 4000), np.uint8))
    assert [picture.shape for picture in pictures_of(shown.page())] == [(5, 2000, 3)] * 2


def test_it_is_saved_as_a_picture_or_a_page(tmp_path: Path) -> None:
    shown = srgan_trt.compare(noise(30, 40), noise(30, 40, seed=1))
    assert shown.save(tmp_path / "a.png") == tmp_path / "a.png"
    with Image.open(tmp_path / "a.png") as sheet:
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(shown.sheet()))
    assert shown.save(tmp_path / "a.html").read_text() == shown.page()
    with pytest.raises(PictureError, match="exists"):
        shown.save(tmp_path / "a.html")
    shown.save(tmp_path / "a.html", overwrite=True)
    with pytest.raises(PictureError, match=r"end it in \.png or \.html"):
        shown.save(tmp_path / "a.gif")
