"""TIFF as written here, read by independent decoders."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from srgan_trt.imaging import tiff
from srgan_trt.imaging.decode import decode
from srgan_trt.imaging.picture import Picture, from_array

RNG = np.random.default_rng(12)


def written(picture: Picture, *, big: bool) -> bytes:
    file = io.BytesIO()
    tiff.write(file, picture, big=big)
    return file.getvalue()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (1500, 400)])
def test_tifffile_reads_the_same_levels(big: bool, dtype: type, channels: int, size: tuple[int, int]) -> None:
    array = RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    with tifffile.TiffFile(io.BytesIO(written(from_array(array), big=big))) as file:
        assert file.is_bigtiff == big
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray().reshape(array.shape), array)
        assert [int(kind) for kind in page.extrasamples] == [2] * (channels in (2, 4))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_libtiff_reads_the_same_levels(channels: int) -> None:
    array = RNG.integers(0, 256, (900, 600, channels), np.uint8)
    with Image.open(io.BytesIO(written(from_array(array), big=False))) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(array.shape), array)


@pytest.mark.parametrize("big", [False, True])
def test_profile_resolution_and_every_exif_directory_are_read_back(big: bool) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271], exif[274], exif[33432] = "Maker", 1, "© Café".encode()
    exif[282], exif[283], exif[296] = 10.0, 10.0, 3
    exif.get_ifd(ExifTags.IFD.Exif).update({36867: "2020:01:02 03:04:05", 33434: 0.008, 37500: b"maker" * 9})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (47.0, 22.0, 1.5)})
    source = io.BytesIO()
    Image.new("RGB", (3, 2)).save(source, "JPEG", exif=exif, icc_profile=profile, dpi=(300, 72))
    metadata = decode(source.getvalue()).metadata
    data = written(Picture(pixels=np.zeros((2, 3, 3), np.uint8), metadata=metadata), big=big)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == (300, 72)
        back = image.getexif()
        assert back[271] == "Maker"
        assert back[33432].encode("latin-1") == "© Café".encode()
        inner = back.get_ifd(ExifTags.IFD.Exif)
        assert (inner[36867], float(inner[33434]), inner[37500]) == ("2020:01:02 03:04:05", 0.008, b"maker" * 9)
        assert back.get_ifd(ExifTags.IFD.GPSInfo)[2] == (47.0, 22.0, 1.5)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].tags.valueof(34665)["ExposureTime"] == 0.008
    assert (decode(data).metadata.icc, decode(data).metadata.dpi) == (profile, (300, 72))


def test_bigtiff_begins_where_offsets_no_longer_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "_BIG", 1000)
    for side, big in ((18, False), (19, True)):
        file = io.BytesIO()
        tiff.write(file, from_array(np.zeros((side, side, 3), np.uint8)))
        assert (file.getvalue()[2] == 43) == big


def test_no_metadata_is_written_where_there_is_none() -> None:
    with tifffile.TiffFile(io.BytesIO(written(from_array(np.zeros((2, 2), np.uint8)), big=False))) as file:
        assert {34665, 34853, 34675, 282, 305} & set(file.pages[0].tags.keys()) == set()
