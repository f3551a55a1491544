"""The loss that a file tells of: JPEG's tables and WebP's kind, as Pillow's encoders write them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.imaging.compression import Compression, jpeg_compression
from srgan_trt.imaging.decode import decode
from srgan_trt.imaging.picture import from_pil

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


def encoded(format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.open(PHOTO).crop((0, 0, 64, 48)).save(file, format_, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [*range(1, 97, 5), 99, 100])
@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}, {"progressive": True}])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality: int, options: dict[str, Any]) -> None:
    assert decode(encoded("JPEG", quality=quality, **options)).compression == Compression("JPEG", quality)


def test_gray_jpegs_have_a_quality_too() -> None:
    file = io.BytesIO()
    Image.open(PHOTO).convert("L").save(file, "JPEG", quality=60)
    assert decode(file.getvalue()).compression == Compression("JPEG", 60)


def test_tables_of_their_own_get_the_quality_of_the_nearest_standard_one() -> None:
    with Image.open(io.BytesIO(encoded("JPEG", quality=80))) as image:
        table = np.array(image.quantization[0])  # type: ignore[attr-defined]
    moved = np.maximum(1, np.rint(table * np.random.default_rng(0).uniform(0.9, 1.1, 64))).astype(int)
    found = jpeg_compression({0: moved.tolist()})
    assert found is not None
    assert found.quality is not None
    assert abs(found.quality - 80) <= 2
    for preset, low, high in (("web_low", 10, 45), ("web_maximum", 90, 100)):
        compression = decode(encoded("JPEG", quality=preset)).compression
        assert compression is not None
        assert compression.quality is not None
        assert low <= compression.quality <= high


@pytest.mark.parametrize("tables", [{}, {0: []}, {0: [1] * 63}, {0: [0] * 64}, {1: [1] * 64}])
def test_without_a_whole_table_nothing_is_told(tables: dict[int, list[int]]) -> None:
    assert jpeg_compression(tables) is None


def test_lossy_webp_is_told_from_lossless() -> None:
    assert decode(encoded("WEBP", quality=80)).compression == Compression("WebP", None)
    assert decode(encoded("WEBP", lossless=True)).compression is None
    # Behind a profile, in the extended format.
    icc = Image.open(PHOTO).info.get("icc_profile") or b"\0" * 130
    assert decode(encoded("WEBP", quality=80, icc_profile=icc)).compression == Compression("WebP", None)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_files_tell_of_no_loss(format_: str) -> None:
    assert decode(encoded(format_)).compression is None


def test_pillow_images_tell_while_they_are_as_read() -> None:
    with Image.open(io.BytesIO(encoded("JPEG", quality=70))) as image:
        assert from_pil(image).compression == Compression("JPEG", 70)
        assert from_pil(image.resize((32, 24))).compression is None


def test_it_reads_as_words() -> None:
    assert str(Compression("JPEG", 70)) == "JPEG quality 70"
    assert str(Compression("WebP", None)) == "WebP"
