"""JPEG and WebP as written here, read by Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from srgan_trt.imaging import lossy
from srgan_trt.imaging.metadata import Metadata
from srgan_trt.imaging.picture import Picture


def wide_exif() -> bytes:
    exif = Image.Exif()
    exif.endian = "<"
    exif[270] = "x" * 70_000
    return exif.tobytes()[6:]


def test_metadata_too_large_for_a_jpeg_is_split_or_left_out_and_said() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(150_000)
    picture = Picture(pixels=np.zeros((8, 8, 3), np.uint8), metadata=Metadata(exif=wide_exif(), icc=profile))
    stream = io.BytesIO()
    notes = lossy.write_jpeg(stream, picture, quality=95)
    assert notes == (f"its EXIF of {len(wide_exif()) + 6:,} bytes is more than a JPEG can hold and was left out",)
    with Image.open(stream) as image:
        assert image.info["icc_profile"] == profile
        assert "exif" not in image.info


def test_a_jpeg_begins_as_jfif_wants_it_and_keeps_colour_at_full_resolution() -> None:
    stream = io.BytesIO()
    lossy.write_jpeg(
        stream, Picture(pixels=np.zeros((8, 8, 3), np.uint8), metadata=Metadata(dpi=(300, 72))), quality=95
    )
    assert stream.getvalue()[:18] == b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\x01\x01\x2c\x00\x48"
    with Image.open(stream) as image:
        assert image.info["dpi"] == (300, 72)
        assert {(h, v) for _, h, v, _ in image.layer} == {(1, 1)}
        np.testing.assert_array_equal(np.asarray(image), 0)


def test_alpha_of_a_webp_is_exact_and_gray_is_equal_colours() -> None:
    alpha = np.random.default_rng(15).integers(0, 256, (40, 30), np.uint8)
    stream = io.BytesIO()
    lossy.write_webp(stream, Picture(pixels=np.full((40, 30, 1), 100, np.uint8), alpha=alpha), quality=80)
    decoded = np.asarray(Image.open(stream))
    np.testing.assert_array_equal(decoded[:, :, 3], alpha)
    assert np.abs(decoded[alpha > 0][:, :3].astype(int) - 100).max() <= 3
