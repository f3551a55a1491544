"""Pictures keep their kind: what comes from NumPy or Pillow goes back as the same kind, level by level."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from srgan_trt.errors import PictureError
from srgan_trt.imaging.picture import from_array, from_pil, reduced

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.sampled_from([size, *[(*size, channels) for channels in (1, 2, 3, 4)]])
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda dtype: arrays(dtype, shapes)))
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    picture = from_array(array)
    back = picture.to_array()
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.shape == (picture.height, picture.width, picture.channels)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_of_0_to_1_are_16_bit_levels_on_the_way(dtype: str) -> None:
    array = np.linspace(0, 1, 9 * 7 * 4).reshape(9, 7, 4).astype(dtype)
    picture = from_array(array)
    assert picture.pixels.dtype == np.uint16
    back = picture.to_array()
    assert back.dtype == array.dtype
    assert np.abs(back.astype(float) - array).max() <= (5e-4 if dtype == np.float16 else 8e-6)
    assert (back.min(), back.max()) == (0, 1)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, shapes))
def test_8_bit_arrays_survive_pillow(array: np.ndarray) -> None:
    there = from_pil(from_array(array).to_pil())
    np.testing.assert_array_equal(there.to_array().reshape(array.shape), array)


def test_strides_and_byte_order_do_not_matter() -> None:
    array = np.arange(2 * 6 * 8 * 3, dtype=np.uint16).reshape(2, 6, 8, 3)[1, ::-2, ::2].astype(">u2")
    picture = from_array(array)
    assert picture.pixels.dtype == np.uint16
    assert picture.pixels.dtype.isnative
    np.testing.assert_array_equal(picture.pixels, array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 3), np.nan, np.float32), "48 of its 48 values are no finite numbers"),
        (
            np.array([[0.5, 1.5], [-1, 1]], np.float16),
            r"2 of its 4 values are outside 0\.\.1 \(from -1 to 1\.5\): clip",
        ),
        (np.zeros((4, 4), np.complex64), "arrays of complex64 are not taken"),
        (np.zeros((4, 4, 3), np.int64), "arrays of int64"),
        (np.zeros((4, 4, 5), np.uint8), r"shape \(4, 4, 5\) is not a picture"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"shape \(2, 4, 4, 3\) is not a picture"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        ([[1, 2]], "not list"),
    ],
)
def test_what_is_no_picture_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        from_array(array)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pillow_images_come_back_in_their_mode(mode: str) -> None:
    kind = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}[mode]
    levels = np.random.default_rng(1).integers(0, 256, (5, 7, *kind)).astype("u2" if mode == "I;16" else "u1")
    image = Image.fromarray(levels)
    assert image.mode == mode
    back = from_pil(image).to_pil()
    assert back.mode == mode
    np.testing.assert_array_equal(np.asarray(back), levels)


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", "L"), ("P", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("PA", "RGBA")]
)
def test_modes_without_levels_of_their_own_become_what_pillow_converts_them_to(mode: str, expected: str) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (6, 5, 3), np.uint8)
    image = Image.fromarray(levels).convert("P" if mode == "PA" else mode).convert(mode)
    picture = from_pil(image)
    np.testing.assert_array_equal(np.asarray(picture.to_pil()), np.asarray(image.convert(expected)))
    assert bool(picture.notes) == (mode in ("YCbCr", "HSV"))


@pytest.mark.parametrize(("mode", "transparency"), [("P", 3), ("P", bytes(range(256))), ("L", 7), ("RGB", (1, 2, 3))])
def test_transparency_by_colour_becomes_alpha(mode: str, transparency: object) -> None:
    levels = np.random.default_rng(3).integers(0, 10, (6, 5, 3) if mode == "RGB" else (6, 5), np.uint8)
    image = Image.fromarray(levels)
    if mode == "P":
        image.putpalette(list(range(0, 30)))
    image.info["transparency"] = transparency
    expected = np.asarray(image.convert("LA" if mode == "L" else "RGBA"))
    picture = from_pil(image)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.to_array(), expected)


def test_cmyk_without_a_profile_is_converted_and_said() -> None:
    image = Image.fromarray(np.random.default_rng(4).integers(0, 256, (6, 5, 4), np.uint8), "CMYK")
    picture = from_pil(image)
    assert picture.notes == ("CMYK was converted to RGB without a colour profile",)
    np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))


def ink_profile() -> bytes:
    """A CMYK printer profile (ICC.1:2001, 6.5.9, lut8Type) of four inks that are all gray, black ones darkest."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    levels = bytes(level for c, m, y, k in corners for level in (255 - 40 * (c + m + y) - 135 * k, 128, 128))
    identity = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + levels + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text\0\0\0\0test\0\0\0\0"
    tags, body, at = b"", b"", 128 + 4 + 12 * 4
    for name, content in ((b"A2B0", table), (b"A2B1", table), (b"wtpt", white), (b"cprt", text)):
        content += bytes(-len(content) % 4)
        tags += name + struct.pack(">2I", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    assert len(head) == 128
    return head + struct.pack(">I", 4) + tags + body


def test_cmyk_with_a_profile_is_converted_by_it_and_the_profile_stays_behind() -> None:
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (255, 255, 255, 255)]
    image = Image.fromarray(np.array([inks], np.uint8), "CMYK")
    image.info["icc_profile"] = ink_profile()
    picture = from_pil(image)
    assert picture.notes == ("CMYK was converted to RGB by its colour profile",)
    assert picture.metadata.icc is None
    pixels = picture.pixels[0].astype(int)
    assert np.ptp(pixels, axis=1).max() <= 2
    # L* of 255, 215, 215 and 0 of 255.
    np.testing.assert_allclose(pixels[:, 1], [255, 208, 208, 0], atol=6)


def test_cmyk_with_a_damaged_profile_is_converted_without_it() -> None:
    image = Image.new("CMYK", (3, 3), (10, 20, 30, 40))
    image.info["icc_profile"] = b"not a profile"
    picture = from_pil(image)
    assert picture.notes == ("CMYK was converted to RGB without its colour profile, which is damaged",)
    assert picture.metadata.icc is None


def test_lab_is_converted_to_srgb() -> None:
    # L* = 100, a* = b* = 0 is white; L* = 0 black.
    image = Image.merge("LAB", [Image.new("L", (2, 1), level) for level in (255, 128, 128)])
    image.putpixel((1, 0), (0, 128, 128))
    pixels = from_pil(image).pixels.astype(int)
    assert pixels[0, 0].min() >= 253
    assert pixels[0, 1].max() <= 3


def test_integers_beyond_16_bits_and_floats_are_refused() -> None:
    deep = Image.new("I", (2, 2), 70000)
    with pytest.raises(PictureError, match="spans 70000 to 70000"):
        from_pil(deep)
    np.testing.assert_array_equal(from_pil(Image.new("I", (2, 2), 65535)).pixels, np.full((2, 2, 1), 65535))
    with pytest.raises(PictureError, match="mode F"):
        from_pil(Image.new("F", (2, 2)))


def test_16_bit_colour_comes_out_of_pillow_in_8_bits_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    levels = np.array([[[0, 257, 65535], [128, 129, 65406]]], np.uint16)
    image = from_array(levels).to_pil()
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), [[[0, 1, 255], [0, 1, 254]]])
    assert "8 bits" in caplog.text


def test_reduction_rounds_every_level_to_the_nearest() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(reduced(from_array(levels)).to_array(), np.rint(levels / 257))


def test_large_images_are_converted_in_bands_without_a_seam() -> None:
    levels = np.random.default_rng(5).integers(0, 256, (1500, 700, 3), np.uint8)
    image = Image.fromarray(levels).convert("CMYK")
    np.testing.assert_array_equal(from_pil(image).pixels, np.asarray(image.convert("RGB")))


def test_profile_dpi_and_exif_travel_with_pillow_images() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (4, 3))
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[274] = 6
    image.info.update(icc_profile=profile, dpi=(72, 96))
    image.info["exif"] = exif.tobytes()
    back = from_pil(image).to_pil()
    assert back.size == (4, 3)
    assert back.info["icc_profile"] == profile
    assert back.info["dpi"] == (72, 96)
    assert back.getexif()[271] == "Maker"
    assert back.getexif()[274] == 6
    file = io.BytesIO()
    back.save(file, "PNG", exif=back.info["exif"])
    assert Image.open(file).getexif()[274] == 6


def test_a_real_photo_opened_by_pillow_comes_back_identical(shared_images: Path) -> None:
    with Image.open(shared_images / "test/Set5/LRx4/img_001.png") as image:
        np.testing.assert_array_equal(np.asarray(from_pil(image).to_pil()), np.asarray(image))
