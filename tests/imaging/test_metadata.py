"""EXIF, colour profiles and resolutions: what is carried, what is corrected, what is dropped."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
from PIL import ExifTags, Image, ImageCms

from srgan_trt.imaging import metadata
from srgan_trt.imaging.metadata import (
    dpi_of,
    exif_block,
    fitting_icc,
    left_out,
    main_entries,
    orientation,
    resized,
    upright,
    with_dpi,
)


def camera_exif(*, turn: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[274] = turn
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    exif[33432] = "© 2020 Café".encode()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {36867: "2020:01:02 03:04:05", 33434: 0.008, 0xA002: 4000, 0xA003: 3000, 37500: b"maker's own" * 5}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (47.0, 22.0, 1.5)})
    return parsed(exif.tobytes())


def parsed(block: bytes | None) -> Image.Exif:
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    return exif


def test_describing_tags_of_all_directories_are_carried() -> None:
    exif = parsed(exif_block(camera_exif()))
    assert exif[271] == "Maker"
    assert exif[33432].encode("latin-1") == "© 2020 Café".encode()
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert inner[36867] == "2020:01:02 03:04:05"
    assert Fraction(inner[33434]).limit_denominator(1000) == Fraction(1, 125)
    assert inner[37500] == b"maker's own" * 5
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[2] == (47.0, 22.0, 1.5)


def test_storage_tags_and_thumbnails_are_dropped() -> None:
    exif = camera_exif()
    exif[256], exif[273], exif[513], exif[34675] = 10, 8, 100, b"profile"
    exif.get_ifd(ExifTags.IFD.IFD1)[513] = 200
    block = exif_block(exif)
    assert {256, 273, 513, 34675}.isdisjoint(parsed(block))
    assert parsed(block).get_ifd(ExifTags.IFD.IFD1) == {}


def test_only_what_is_about_the_photo_is_carried_and_the_rest_is_said() -> None:
    exif = Image.Exif()
    exif[271], exif[700], exif[33550], exif[50839], exif[65000] = "Maker", b"<xmp>", (10.0, 10.0, 0.0), b"IJIJ", 5
    exif[270] = "ImageJ=1.53\nimages=10\nspacing=2.5"
    exif.get_ifd(ExifTags.IFD.Exif)[0x9214] = (100, 100, 20)
    assert dict(parsed(exif_block(exif))) == {271: "Maker"}
    assert left_out(exif, {"photoshop": {}}) == [
        "left out: its place on the map (GeoTIFF), its ImageJ settings, its IPTC"
    ]
    assert left_out(camera_exif(), {}) == []


def test_a_larger_picture_has_more_dots_an_inch() -> None:
    exif = camera_exif()
    exif.get_ifd(ExifTags.IFD.Exif)[0xA20E] = 2000.0
    scaled = metadata.Metadata(exif=exif_block(exif), dpi=(300.0, 72.0)).scaled(4, 4)
    assert scaled.dpi == (1200, 288)
    assert parsed(scaled.exif)[282] == 1200
    assert parsed(scaled.exif).get_ifd(ExifTags.IFD.Exif)[0xA20E] == 8000
    assert metadata.Metadata(dpi=(20_000.0, 20_000.0)).scaled(4, 4).dpi is None  # more than JPEG can state


def test_no_tags_are_no_block() -> None:
    assert exif_block(Image.Exif()) is None
    only_storage = Image.Exif()
    only_storage[256] = 3
    assert exif_block(only_storage) is None


def test_orientation_is_read_and_reset() -> None:
    block = exif_block(camera_exif(turn=8))
    assert orientation(block) == 8
    assert orientation(upright(block)) == 1
    assert parsed(upright(block)).get_ifd(ExifTags.IFD.Exif)[36867] == "2020:01:02 03:04:05"
    assert orientation(exif_block(camera_exif(turn=99))) == 1
    assert orientation(None) == 1
    assert upright(None) is None


def test_the_stated_pixel_size_follows_the_picture() -> None:
    inner = parsed(resized(exif_block(camera_exif()), width=16000, height=12000)).get_ifd(ExifTags.IFD.Exif)
    assert (inner[0xA002], inner[0xA003]) == (16000, 12000)
    silent = Image.Exif()
    silent[271] = "Maker"
    block = exif_block(silent)
    assert resized(block, width=2, height=2) == block
    assert resized(None, width=2, height=2) is None


def test_text_beyond_ascii_survives_every_change() -> None:
    block = resized(upright(exif_block(camera_exif())), width=1, height=1)
    assert parsed(block)[33432].encode("latin-1") == "© 2020 Café".encode()
    assert main_entries(block)[33432] == (2, 14, "© 2020 Café".encode() + b"\0")


def test_resolution_is_the_files_own_else_that_of_the_exif() -> None:
    block = exif_block(camera_exif())
    assert dpi_of({"dpi": (72, 96)}, block) == (72, 96)
    assert dpi_of({}, block) == (300, 300)
    assert dpi_of({"dpi": (1, 1)}, None) is None
    assert dpi_of({"dpi": (0, float("nan"))}, None) is None
    metric = Image.Exif()
    metric[282], metric[283], metric[296] = 100.0, 50.0, 3
    assert dpi_of({}, exif_block(metric)) == (254, 127)
    assert dpi_of({}, with_dpi(None, (150.0, 75.0))) == (150, 75)


def test_profiles_must_fit_the_channels() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert fitting_icc(profile, channels=3) == profile
    assert fitting_icc(profile, channels=1) is None
    assert fitting_icc(b"", channels=3) is None
    assert fitting_icc(b"x" * 500, channels=3) is None


@pytest.mark.parametrize("at", range(6, 200, 7))
def test_damaged_exif_gives_a_block_or_one_of_the_errors_that_callers_expect(at: int) -> None:
    whole = camera_exif().tobytes()
    exif = Image.Exif()
    with warnings.catch_warnings(action="ignore"):
        try:
            exif.load(whole[:at] + b"\xff\xfe\x7f" + whole[at + 3 :])
            block = exif_block(exif)
        except metadata.BAD_EXIF:
            block = None
    assert block is None or block.startswith(b"II*\0")
