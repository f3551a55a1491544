"""Files become pictures with every level and bit they hold, or one line that says why not."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from srgan_trt.errors import LargePictureError, PictureError, UnknownFormatError
from srgan_trt.imaging import jxl
from srgan_trt.imaging.decode import decode, picture_size
from srgan_trt.imaging.encode import encode_to
from srgan_trt.imaging.png import SIGNATURE

from ..peak_memory import PRINT_PEAK_BYTES

RNG = np.random.default_rng(7)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tiff_bytes(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + chunk + data[33:]


@pytest.fixture(scope="module")
def photo(shared_images: Path) -> Image.Image:
    with Image.open(shared_images / "test/Set5/LRx4/img_002.png") as image:
        return image.convert("RGB")


def test_every_real_picture_equals_pillows(shared_images: Path) -> None:
    paths = [*shared_images.glob("train/**/*.jpg"), *shared_images.glob("train/**/*.bmp")]
    paths = [*sorted(paths)[::40], *sorted(shared_images.glob("test/**/*.png"))[::20]]
    assert len(paths) > 15
    for path in paths:
        picture = decode(path)
        with Image.open(path) as image:
            np.testing.assert_array_equal(picture.to_array(), np.asarray(image))
        assert picture.notes == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_each_format_is_known_by_its_bytes_whatever_its_name(format: str, photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "photo.dat"
    path.write_bytes(saved(photo, format))
    picture = decode(path)
    assert picture.format == format
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(path).convert("RGB")))


def test_a_tga_is_known_by_its_name_too(photo: Image.Image, tmp_path: Path) -> None:
    """Older ones have no signature."""
    path = tmp_path / "photo.TGA"
    for compression in (None, "tga_rle"):
        path.write_bytes(saved(photo, "TGA", compression=compression))
        np.testing.assert_array_equal(decode(path).pixels, np.asarray(photo))
    path.write_bytes(b"a text of some length, which is no picture")
    with pytest.raises(PictureError, match="it is a text file"):
        decode(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_jpeg_xl_keeps_every_bit(channels: int, dtype: type) -> None:
    levels = noise(19, 23, channels, dtype=dtype)
    flat = levels[:, :, 0] if channels == 1 else levels
    for container in (False, True):
        picture = decode(imagecodecs.jpegxl_encode(flat, lossless=True, usecontainer=container))
        np.testing.assert_array_equal(picture.to_array(), flat)
        assert picture.format == "JXL"


@pytest.mark.parametrize(
    "size", [(8, 8), (8, 16), (256, 256), (300, 400), (7, 1), (1, 5000), (30, 20), (270, 480), (9000, 3)]
)
def test_the_size_of_a_jpeg_xl_is_known_before_its_pixels(size: tuple[int, int]) -> None:
    data = imagecodecs.jpegxl_encode(np.zeros((*size, 3), np.uint8), lossless=True)
    assert jxl.size(bytes(data)) == picture_size(bytes(data)) == size[::-1]
    with pytest.raises(PictureError, match=f"{size[1]:,} x {size[0]:,} = "):
        decode(bytes(data), max_pixels=size[0] * size[1] - 1)


def test_damaged_files_of_the_newer_formats_are_said(photo: Image.Image) -> None:
    small = photo.crop((0, 0, 40, 30))
    whole = [saved(small, "AVIF"), saved(small, "JPEG2000"), saved(small, "PPM")]
    whole.append(bytes(imagecodecs.jpegxl_encode(np.asarray(small), lossless=True, usecontainer=True)))
    for data in whole:
        for length in (14, 40, len(data) // 2):
            with pytest.raises(PictureError, match=r"damaged or cut off|not a readable"):
                decode(data[:length])
        decode(data)


def test_fewer_bits_than_a_file_has_are_said() -> None:
    levels = noise(12, 15, 3, dtype=np.uint16)
    deep = bytes(imagecodecs.jpeg2k_encode(levels, level=0))
    assert decode(deep).notes == ("its 16 bits were reduced to 8 (colour JPEG2000 files are read in no more)",)
    ppm = b"P6\n# made by hand\n15 12\n65535\n" + levels.astype(">u2").tobytes()
    assert decode(ppm).notes == ("its 16 bits were reduced to 8 (colour PPM files are read in no more)",)
    avif = bytes(imagecodecs.avif_encode(levels >> 6, bitspersample=10))
    assert decode(avif).notes == ("its 10 bits were reduced to 8 (colour AVIF files are read in no more)",)
    gray = b"P5 15 12 65535\n" + levels[:, :, 0].astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(gray).to_array().squeeze(), levels[:, :, 0])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_the_size_is_told_without_decoding(format: str) -> None:
    data = saved(Image.fromarray(noise(57, 91, 3)), format)
    assert picture_size(data) == (91, 57)
    with pytest.raises(LargePictureError, match="raise it with --max-pixels"):
        decode(data, max_pixels=91 * 57 - 1)


def test_what_is_no_picture_has_no_size() -> None:
    for data, error in ((b"<svg/>", UnknownFormatError), (b"", PictureError), (SIGNATURE, PictureError)):
        with pytest.raises(error, match=r"^the upload"):
            picture_size(data, name="the upload")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_and_tiff_keep_every_bit(channels: int) -> None:
    levels = noise(19, 23, channels, dtype=np.uint16)
    flat = levels[:, :, 0] if channels == 1 else levels
    options = {"photometric": "rgb" if channels > 2 else "minisblack", "planarconfig": "contig"}
    extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    for data in (
        imagecodecs.png_encode(flat),
        tiff_bytes(flat, **options, **extra),
        tiff_bytes(flat, **options, **extra, compression="zlib", predictor=True, byteorder=">", bigtiff=True),
        tiff_bytes(flat, **options, **extra, compression="lzw", tile=(16, 16)),
    ):
        picture = decode(data)
        assert picture.bits == 16
        assert (picture.alpha is not None) == (channels in (2, 4))
        np.testing.assert_array_equal(picture.to_array(), flat)


def test_big_endian_bigtiff_is_read_in_8_bits_too() -> None:
    levels = noise(9, 11, 3)
    data = tiff_bytes(levels, photometric="rgb", bigtiff=True, byteorder=">", resolution=(300, 150), resolutionunit=2)
    picture = decode(data)
    np.testing.assert_array_equal(picture.to_array(), levels)
    assert picture.metadata.dpi == (300, 150)


def test_16_bit_tiff_by_planes_with_inverted_gray_and_extra_channels() -> None:
    levels = noise(9, 11, 3, dtype=np.uint16)
    planes = tiff_bytes(np.moveaxis(levels, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode(planes).pixels, levels)
    inverted = tiff_bytes(levels[:, :, 0], photometric="miniswhite")
    np.testing.assert_array_equal(decode(inverted).pixels[:, :, 0], 65535 - levels[:, :, 0])
    more = tiff_bytes(noise(9, 11, 5, dtype=np.uint16), photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    picture = decode(more)
    assert picture.alpha is not None
    assert picture.notes == ("its extra channels were left out",)


def test_premultiplied_alpha_is_divided_out() -> None:
    colours, alpha = noise(8, 8, 3, dtype=np.uint16), noise(8, 8, dtype=np.uint16) | 0x4000
    alpha[0, 0] = 0
    premultiplied = np.rint(colours * (alpha[:, :, None] / 65535)).astype(np.uint16)
    data = tiff_bytes(np.dstack([premultiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    picture = decode(data)
    np.testing.assert_array_equal(picture.alpha, alpha)
    visible = alpha > 0
    assert np.abs(picture.pixels[visible].astype(int) - colours[visible]).max() <= 2


def test_transparent_colours_of_16_bit_png_become_alpha() -> None:
    levels = noise(6, 5, 3, dtype=np.uint16)
    data = with_chunk(imagecodecs.png_encode(levels), b"tRNS", struct.pack(">3H", *levels[2, 3].tolist()))
    picture = decode(data)
    assert picture.alpha is not None
    assert picture.alpha[2, 3] == 0
    assert (picture.alpha == 65535).sum() == 29


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF"])
def test_palettes_become_colours(format: str, photo: Image.Image) -> None:
    image = photo.quantize(50)
    np.testing.assert_array_equal(decode(saved(image, format)).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palettes_with_transparency_become_colours_and_alpha(format: str, photo: Image.Image) -> None:
    data = saved(photo.quantize(50), format, transparency=4)
    picture = decode(data)
    np.testing.assert_array_equal(picture.to_array(), np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")))
    assert picture.alpha is not None
    assert set(np.unique(picture.alpha)) == {0, 255}


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_read(format: str) -> None:
    image = Image.fromarray(noise(9, 7, 4))
    data = saved(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(decode(data).to_array(), np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_stays_gray(mode: str, photo: Image.Image) -> None:
    image = photo.convert("L").convert(mode)
    picture = decode(saved(image, "PNG"))
    assert picture.channels == 1
    np.testing.assert_array_equal(picture.to_array(), np.asarray(image.convert("L" if mode == "1" else mode)))


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_and_is_said(format: str, photo: Image.Image) -> None:
    data = saved(photo.convert("CMYK"), format)
    picture = decode(data)
    assert picture.notes == ("CMYK was converted to RGB without a colour profile",)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("format", "kind"), [("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames"), ("TIFF", "pages")]
)
def test_the_first_of_many_frames_is_taken_and_said(format: str, kind: str) -> None:
    frames = [Image.fromarray(noise(8, 8, 3)) for _ in range(3)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    picture = decode(data)
    assert picture.notes == (f"the first of 3 {kind} was taken",)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_the_first_page_of_16_bit_tiffs_is_taken_and_said() -> None:
    pages = noise(2, 8, 9, dtype=np.uint16)
    picture = decode(tiff_bytes(pages, photometric="minisblack"))
    np.testing.assert_array_equal(picture.to_array(), pages[0])
    assert picture.notes == ("the first of 2 pages was taken",)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_applied_and_reset(turn: int, format: str) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", turn
    data = saved(Image.fromarray(noise(24, 16, 3)), format, exif=exif, dpi=(100, 200))
    picture = decode(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
    carried = Image.Exif()
    carried.load(picture.metadata.exif)
    assert carried.get(274, 1) == 1
    assert carried[271] == "Maker"
    if format in ("JPEG", "PNG"):
        assert picture.metadata.dpi == pytest.approx((200, 100) if turn >= 5 else (100, 200), abs=0.02)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_of_16_bit_files_is_applied(turn: int) -> None:
    levels = noise(5, 4, 3, dtype=np.uint16)
    exif = Image.Exif()
    exif[274] = turn
    expected = np.asarray(ImageOps.exif_transpose(_indexed(5, 4, exif))).ravel()
    turned = levels.reshape(-1, 3)[expected]
    png = with_chunk(imagecodecs.png_encode(levels), b"eXIf", exif.tobytes()[6:])
    np.testing.assert_array_equal(decode(png).pixels.reshape(-1, 3), turned)
    tiff = tiff_bytes(levels, photometric="rgb", extratags=[(274, "H", 1, turn, True)])
    np.testing.assert_array_equal(decode(tiff).pixels.reshape(-1, 3), turned)


def _indexed(height: int, width: int, exif: Image.Exif) -> Image.Image:
    """An image whose levels are the indices of its pixels."""
    image = Image.fromarray(np.arange(height * width, dtype=np.uint8).reshape(height, width))
    return Image.open(io.BytesIO(saved(image, "PNG", exif=exif)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profile_and_resolution_are_carried(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = decode(saved(Image.new("RGB", (8, 8)), format, icc_profile=profile, dpi=(300, 150))).metadata
    assert metadata.icc == profile
    if format != "WEBP":
        assert metadata.dpi == pytest.approx((300, 150), abs=0.02)


def test_profile_resolution_and_exif_of_16_bit_tiffs_are_carried() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for big in (False, True):
        data = tiff_bytes(
            noise(4, 4, 3, dtype=np.uint16),
            photometric="rgb",
            iccprofile=profile,
            resolution=(300, 150),
            resolutionunit="INCH",
            description="a photo",
            bigtiff=big,
        )
        metadata = decode(data).metadata
        assert metadata.icc == profile
        assert metadata.dpi == (300, 150)
        exif = Image.Exif()
        exif.load(metadata.exif)
        assert exif[270] == "a photo"


def test_profiles_of_other_colours_are_not_carried() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(saved(Image.new("L", (8, 8)), "PNG", icc_profile=profile)).metadata.icc is None


def test_damaged_exif_is_left_out_and_said() -> None:
    data = saved(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0not a TIFF block")
    picture = decode(data)
    assert picture.metadata.exif is None
    assert picture.notes == ("its EXIF cannot be read and was left out",)
    deep = with_chunk(imagecodecs.png_encode(noise(4, 4, dtype=np.uint16)), b"eXIf", b"not a TIFF block")
    assert decode(deep).notes == ("its EXIF cannot be read and was left out",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_place_on_the_map_is_left_out_and_said(dtype: type) -> None:
    tags = [(33550, "d", 3, (10.0, 10.0, 0.0), False), (33922, "d", 6, (0, 0, 0, 5e5, 4.6e6, 0), False)]
    picture = decode(tiff_bytes(noise(8, 8, 3, dtype=dtype), photometric="rgb", extratags=tags))
    assert picture.notes == ("left out: its place on the map (GeoTIFF)",)
    again = io.BytesIO()
    encode_to(picture, again, format="tiff")
    again.seek(0)
    with tifffile.TiffFile(again) as file:
        assert {33550, 33922}.isdisjoint(tag.code for tag in file.pages[0].tags)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_texts_and_what_levels_mean_go_from_png_to_png_and_are_said_of_elsewhere(dtype: type) -> None:
    data = imagecodecs.png_encode(noise(8, 8, 3, dtype=dtype))
    for kind, content in (
        (b"gAMA", (100_000).to_bytes(4, "big")),
        (b"tEXt", b"Title\0Caf\xe9"),
        (b"tEXt", b"seed\x007"),
    ):
        data = with_chunk(data, kind, content)
    picture = decode(data)
    assert dict(picture.metadata.text) == {"Title": "Café", "seed": "7"}
    again = io.BytesIO()
    assert encode_to(picture, again, format="png") == ()
    assert decode(again.getvalue()).metadata == picture.metadata
    with Image.open(again) as image:
        assert image.text == {"Title": "Café", "seed": "7"}
        assert image.info["gamma"] == 1
    notes = encode_to(picture, io.BytesIO(), format="tiff")
    assert [note.partition(" were")[0].partition(" was")[0] for note in notes] == [
        "its texts (seed, Title)",
        "what its levels mean (gAMA, cICP)",
    ]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_level_of_a_gray_png_of_any_depth(depth: int) -> None:
    levels = (np.arange(16 * 16).reshape(16, 16) % 2**depth).astype(np.uint8)
    bits = np.unpackbits(levels[:, :, None], axis=2)[:, :, 8 - depth :].reshape(16, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    data = imagecodecs.png_encode(np.zeros((16, 16), np.uint8))[:8]
    for kind, content in (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, depth, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", 2**depth - 1)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    picture = decode(data)
    np.testing.assert_array_equal(picture.alpha == 0, levels == 2**depth - 1)


@pytest.mark.parametrize("codec", ["lerc", "webp", "jpegxl", "jpeg2000", "png"])
def test_8_bit_tiffs_in_codecs_that_pillow_lacks(codec: str) -> None:
    levels = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 4, (32, 32, 3))
    picture = decode(tiff_bytes(levels, photometric="rgb", compression=codec))
    assert np.abs(picture.pixels.astype(int) - levels).max() <= 2


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_more_bands_than_gray_are_left_out_and_said(planes: str) -> None:
    levels = noise(5, 12, 14)
    array = levels if planes == "separate" else np.ascontiguousarray(np.moveaxis(levels, 0, -1))
    picture = decode(tiff_bytes(array, photometric="minisblack", planarconfig=planes))
    np.testing.assert_array_equal(picture.pixels[:, :, 0], levels[0])
    assert picture.notes == ("its extra channels were left out",)


def test_a_thumbnail_before_the_picture_is_not_taken_for_it() -> None:
    full = noise(40, 48, 3)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as pages:
        pages.write(full[::8, ::8], photometric="rgb", subfiletype=1, metadata=None)
        pages.write(full, photometric="rgb", metadata=None)
    picture = decode(file.getvalue())
    np.testing.assert_array_equal(picture.pixels, full)
    assert picture.notes == ("page 2 of 2, the first that is no thumbnail, was taken",)


@pytest.mark.parametrize("dng", [True, False])
def test_raw_photos_are_refused_as_such(dng: bool) -> None:
    file = io.BytesIO()
    tags = [(50706, "B", 4, (1, 4, 0, 0), False)] if dng else []
    with tifffile.TiffWriter(file) as pages:
        pages.write(noise(5, 6, 3), photometric="rgb", subfiletype=1, metadata=None, subifds=1, extratags=tags)
        pages.write(noise(40, 48, dtype=np.uint16), photometric=32803, metadata=None)
    for data in (file.getvalue(), b"FUJIFILMCCD-RAW 0201" + bytes(40), b"\0\0\0\x18ftypcrx " + bytes(40)):
        with pytest.raises(PictureError, match="a raw photo of a camera: develop it"):
            decode(data)


@pytest.mark.parametrize("kind", ["12 bits", "lossless", "JPEG-LS"])
def test_jpegs_beyond_8_bits_and_without_loss(kind: str) -> None:
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(64, dtype=np.uint16)[:, None], (64, 64))) * 65
    if kind == "12 bits":
        data = imagecodecs.jpeg_encode(np.dstack([ramp] * 3), 100, bitspersample=12)
        expected, most = np.dstack([ramp] * 3), 40
    elif kind == "lossless":
        data, expected, most = imagecodecs.ljpeg_encode(ramp, bitspersample=12), ramp[:, :, None], 0
    else:
        expected, most = noise(20, 30, 3), 0
        data = imagecodecs.jpegls_encode(expected)
    if kind != "JPEG-LS":
        expected = np.round(expected * (65535 / 4095)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 3
    block = exif.tobytes()
    picture = decode(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    assert picture.bits == expected.dtype.itemsize * 8
    assert np.abs(picture.pixels[::-1, ::-1].astype(int) - expected).max() <= most


def test_a_jpeg_without_its_end_is_whole_and_one_that_is_cut_off_is_not(photo: Image.Image) -> None:
    data = saved(photo, "JPEG", quality=90)
    for cut in (1, 2):
        picture = decode(data[:-cut])
        np.testing.assert_array_equal(picture.pixels, decode(data).pixels)
        assert picture.notes == ("its end is missing",)
    with pytest.raises(PictureError, match="pixels are missing"):
        decode(data[: len(data) * 3 // 4])


def test_a_jpeg_that_holds_few_of_the_pixels_that_it_states_is_cut_off() -> None:
    data = bytearray(saved(Image.fromarray(noise(16, 16)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 3000, 3000)
    with pytest.raises(PictureError, match="pixels are missing"):
        decode(bytes(data))
    assert decode(saved(Image.new("L", (3000, 3000)), "JPEG", progressive=True)).width == 3000


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_damaged_chunk_that_a_png_does_not_need_is_left_out_and_said(dtype: type) -> None:
    levels = noise(8, 8, 3, dtype=dtype)
    data = bytearray(with_chunk(imagecodecs.png_encode(levels), b"tEXt", b"Comment\0hello"))
    data[data.index(b"hello")] ^= 0xFF
    picture = decode(bytes(data))
    np.testing.assert_array_equal(picture.pixels, levels)
    assert picture.notes == ("left out, as it is damaged: its tEXt",)


@pytest.mark.parametrize("which", ["pages", "exif", "idat"])
def test_what_is_thrown_away_costs_no_time(which: str, photo: Image.Image) -> None:
    if which == "pages":
        page = struct.pack("<H", 7)
        for tag, kind, value in (
            (256, 4, 1),
            (257, 4, 1),
            (258, 3, 8),
            (262, 3, 1),
            (273, 4, 8),
            (278, 4, 1),
            (279, 4, 1),
        ):
            page += struct.pack("<HHLL", tag, kind, 1, value)
        size = len(page) + 4
        data = struct.pack("<2sHLL", b"II", 42, 12, 0)
        data += b"".join(
            page + struct.pack("<L", 12 + size * number if number < 20_000 else 0) for number in range(1, 20_001)
        )
    elif which == "exif":
        segment = b"\xff\xe1" + struct.pack(">H", 65_008) + b"Exif\0\0" + bytes(65_000)
        whole = saved(photo, "JPEG")
        data = whole[:2] + segment * 300 + whole[2:]
    else:
        zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
        part = zeros.compress(bytes(1 << 24)) + zeros.flush(zlib.Z_FULL_FLUSH)
        packed = b"\x78\xda" + part * 80
        whole = imagecodecs.png_encode(noise(8, 8, 3, dtype=np.uint16))
        begin = whole.index(b"IDAT")
        data = whole[: begin - 4] + struct.pack(">I", len(packed)) + b"IDAT" + packed
        data += struct.pack(">I", zlib.crc32(b"IDAT" + packed)) + whole[-12:]
    began = time.process_time()
    if which == "idat":
        with pytest.raises(PictureError, match="far more data than pixels"):
            decode(data)
    else:
        decode(data)
    assert time.process_time() - began < 1


# Bad input


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_files_that_are_cut_off_are_said_so(format: str, kept: float, photo: Image.Image, tmp_path: Path) -> None:
    data = saved(photo, format)
    path = tmp_path / f"photo.{format.lower()}"
    path.write_bytes(data[: max(20, int(len(data) * kept))])
    with pytest.raises(PictureError) as raised:
        decode(path)
    text = str(raised.value)
    assert text.startswith(f"{path} is damaged or cut off (")
    assert "\n" not in text
    assert "get the file again" in text


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_16_bit_files_that_are_cut_off_are_said_so(kept: float) -> None:
    levels = noise(40, 50, 3, dtype=np.uint16)
    for data in (
        imagecodecs.png_encode(levels),
        tiff_bytes(levels, photometric="rgb"),
        tiff_bytes(levels, photometric="rgb", compression="zlib"),
    ):
        with pytest.raises(PictureError, match="damaged or cut off"):
            decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, I am text\n" * 9, r"is not a readable picture \(it is a text file\): convert it, or give"),
        (b"<!DOCTYPE html><html>", "a web page or XML"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC or video file"),
        (b"\x7fELF" + bytes(60), "of a kind unknown here"),
        (b"RIFF\x10\0\0\0WEBPabcd" + bytes(40), "damaged or cut off"),
        (SIGNATURE, "damaged or cut off"),
        (b"\xff\xd8\xff", "damaged or cut off"),
        (b"II*\0", "damaged or cut off"),
    ],
)
def test_what_is_no_picture_is_said_so(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=message) as raised:
        decode(path)
    assert str(raised.value).startswith(str(path))


def test_files_that_cannot_be_opened_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read: No such file or directory"):
        decode(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="cannot be read: Is a directory"):
        decode(tmp_path)
    with pytest.raises(PictureError, match=r"^standard input is empty"):
        decode(b"", name="standard input")


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    levels = noise(5, 6, 3)
    writer = threading.Thread(target=lambda: pipe.write_bytes(imagecodecs.png_encode(levels)))
    writer.start()
    np.testing.assert_array_equal(decode(pipe).pixels, levels)
    writer.join()


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32])
def test_tiffs_without_8_or_16_bits_are_refused(dtype: type) -> None:
    with pytest.raises(PictureError, match=r"its samples are .*: save it with 8 or 16 bits"):
        decode(tiff_bytes(np.ones((4, 4), dtype)))


def test_16_bit_cmyk_tiffs_are_refused() -> None:
    with pytest.raises(PictureError, match="neither gray nor RGB"):
        decode(tiff_bytes(noise(4, 4, 4, dtype=np.uint16), photometric="separated"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_pixel_limit_is_the_callers(format: str) -> None:
    data = saved(Image.new("RGB", (100, 50)), format)
    assert decode(data, max_pixels=5000).width == 100
    with pytest.raises(PictureError, match=r"has 100 x 50 = 0\.0 million pixels, more than the limit .*--max-pixels"):
        decode(data, max_pixels=4999)
    with pytest.raises(PictureError, match="more than the limit"):
        decode(imagecodecs.png_encode(noise(50, 100, dtype=np.uint16)), max_pixels=4999)


@pytest.mark.parametrize("format", ["WEBP", "PNG", "GIF"])
def test_moving_pictures_have_a_fifth_of_the_limit(format: str) -> None:
    """Their decoders hold a frame up to five times: 150 bytes of WebP would take 3 GB."""
    stream, frames = io.BytesIO(), [Image.fromarray(noise(50, 100)) for _ in range(2)]
    frames[0].save(stream, format, save_all=True, append_images=frames[1:])
    assert decode(stream.getvalue(), max_pixels=5 * 5000).width == 100
    with pytest.raises(PictureError, match=r"million pixels in a frame, more than the limit .*--max-pixels"):
        decode(stream.getvalue(), max_pixels=5 * 5000 - 1)


def bombs() -> dict[str, bytes]:
    """Tiny files whose headers claim 30,000 x 30,000 pixels."""
    side = 30000
    png = imagecodecs.png_encode(noise(2, 2, 3))
    png16 = imagecodecs.png_encode(noise(2, 2, 3, dtype=np.uint16))
    result = {}
    for name, data in (("png", png), ("png16", png16)):
        header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
        result[name] = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    result["bmp"] = _patched(saved(Image.new("RGB", (2, 2)), "BMP"), 18, struct.pack("<ii", side, side))
    result["gif"] = _patched(saved(Image.new("L", (2, 2)), "GIF"), 6, struct.pack("<HH", side, side))
    jpeg = saved(Image.new("RGB", (2, 2)), "JPEG")
    result["jpeg"] = _patched(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", side, side))
    webp = saved(Image.new("RGBA", (2, 2)), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    result["webp"] = _patched(webp, 24, (side - 1).to_bytes(3, "little") * 2)
    for name, dtype in (("tiff", np.uint8), ("tiff16", np.uint16)):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(
                iter([b"x"] * 1), shape=(side, side), dtype=dtype, compression="zlib", rowsperstrip=side, metadata=None
            )
        result[name] = file.getvalue()
    return result


def _patched(data: bytes, at: int, content: bytes) -> bytes:
    return data[:at] + content + data[at + len(content) :]


@pytest.mark.parametrize("name", ["png", "png16", "bmp", "gif", "jpeg", "webp", "tiff", "tiff16"])
def test_decompression_bombs_are_refused_by_their_headers(name: str) -> None:
    data = bombs()[name]
    assert len(data) < 5000
    # In a process of its own, to measure: 900 million pixels would be at least 900 MB more than what libraries take.
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from srgan_trt.imaging import jxl
from srgan_trt.imaging.decode import decode
from srgan_trt.imaging.encode import encode_to
try:
    decode(sys.stdin.buffer.read(), name="bomb")
except ValueError as error:
    print(error)
{PRINT_PEAK_BYTES}
"""
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    text, peak = done.stdout.decode().splitlines()
    assert text.startswith("bomb has 30,000 x 30,000 = 900.0 million pixels, more than the limit of 200.0 million")
    assert int(peak) < 400_000_000
    assert done.stderr == b""


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PNG16", "TIFF16"])
def test_random_damage_ends_in_a_picture_or_in_one_line(
    format: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    chance = random.Random(format)
    if format == "PNG16":
        whole = imagecodecs.png_encode(noise(24, 20, 3, dtype=np.uint16))
    elif format == "TIFF16":
        whole = tiff_bytes(noise(24, 20, 3, dtype=np.uint16), photometric="rgb", compression="zlib", software="x")
    else:
        exif = Image.Exif()
        exif[271], exif[274] = "Maker", 3
        options = {} if format in ("BMP", "GIF") else {"exif": exif}
        whole = saved(Image.fromarray(noise(24, 20, 3)), format, **options)
    errors = []
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[int(len(data) * chance.random() ** 3)] = chance.randrange(256)
        try:
            picture = decode(bytes(data), name="damaged", max_pixels=1_000_000)
            assert picture.pixels.ndim == 3
        except PictureError as error:
            errors.append(str(error))
    assert len(errors) > 5
    assert all(text.startswith("damaged") and "\n" not in text for text in errors)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_raised_limit_goes_beyond_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        assert decode(saved(Image.new("RGB", (100, 50)), format)).width == 100
    assert Image.MAX_IMAGE_PIXELS == 1000
