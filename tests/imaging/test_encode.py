"""Pictures become files, whole or not at all."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from srgan_trt.errors import MissingPackageError, PictureError, StoppedError
from srgan_trt.imaging.decode import decode
from srgan_trt.imaging.encode import FORMATS, check_target, encode, encode_to, format_of, picture_file
from srgan_trt.imaging.metadata import Metadata
from srgan_trt.imaging.picture import Picture, from_array

from ..handmade import noise

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(13)


@pytest.fixture(scope="module")
def photo(shared_images: Path) -> Picture:
    return decode(sorted(shared_images.glob("train/**/*.jpg"))[1])


def bytes_of(picture: Picture, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    encode_to(picture, stream, format=format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_back(format: str, photo: Picture, tmp_path: Path) -> None:
    path = tmp_path / f"result.{format}"
    assert encode(photo, path) == ()
    back = decode(path)
    if format in ("png", "tiff"):
        np.testing.assert_array_equal(back.pixels, photo.pixels)
    else:
        error = back.pixels.astype(float) - photo.pixels
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 33
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == bytes_of(photo, format)


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_is_carried_and_the_stated_size_corrected(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif).update({0xA002: 10, 0xA003: 20, 36867: "2020:01:02 03:04:05"})
    metadata = Metadata(exif=_little_endian(exif), icc=profile, dpi=(300.0, 72.0))
    data = bytes_of(Picture(pixels=np.zeros((80, 40, 3), np.uint8), metadata=metadata), format)
    if format == "jxl":  # which Pillow does not read
        image = decode(data).to_pil()
        assert decode(data).metadata.icc is None
    else:
        image = Image.open(io.BytesIO(data))
        assert image.info["icc_profile"] == profile
    with image:
        back = image.getexif()
        inner = back.get_ifd(ExifTags.IFD.Exif)
        assert (back[271], inner[0xA002], inner[0xA003], inner[36867]) == ("Maker", 40, 80, "2020:01:02 03:04:05")
    assert decode(data).metadata.dpi == pytest.approx((300, 72), abs=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("format", FORMATS)
def test_xmp_is_carried_and_what_it_says_of_the_pixels_corrected(format: str, dtype: type) -> None:
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="1" dc:title="a \xc3\xa9">
    <exif:PixelXDimension>10</exif:PixelXDimension><tiff:ImageLength> 20</tiff:ImageLength></r></x:xmpmeta>"""
    picture = Picture(pixels=np.zeros((80, 40, 3), dtype), metadata=Metadata(xmp=xmp))
    wanted = xmp.replace(b"10<", b"40<").replace(b" 20<", b" 80<")
    for source in (picture, decode(bytes_of(picture, "tiff")), decode(bytes_of(picture, "png"))):
        back = decode(bytes_of(source, format)).metadata.xmp
        assert back == wanted
    with Image.open(io.BytesIO(bytes_of(picture, "png"))) as image:
        assert image.info["xmp"] == wanted


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_that_only_xmp_says_how_to_hold_is_turned_once(dtype: type, format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    picture = Picture(pixels=np.zeros((8, 4, 3), dtype), metadata=Metadata(xmp=xmp))
    once = decode(bytes_of(picture, format))
    assert once.pixels.shape == (4, 8, 3)
    assert decode(bytes_of(once, format)).pixels.shape == (4, 8, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_text_of_a_png_stays_in_a_png_and_is_said_elsewhere(dtype: type) -> None:
    text = (("Title", "A caf\xe9"), ("Comment", "\u6f22\u5b57"))
    picture = Picture(pixels=np.zeros((8, 4, 3), dtype), metadata=Metadata(text=text))
    data = bytes_of(picture, "png")
    assert decode(data).metadata.text == text
    with Image.open(io.BytesIO(data)) as image:
        assert image.text == dict(text)  # type: ignore[attr-defined]
    notes = encode_to(decode(data), io.BytesIO(), format="jpg")
    assert "its texts (Title, Comment) were left out (png holds them)" in notes


def _little_endian(exif: Image.Exif) -> bytes:
    exif.endian = "<"
    return exif.tobytes()[6:]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_fits_every_format_or_what_it_loses_is_said(format: str, channels: int, dtype: type) -> None:
    steps = np.linspace(0, np.iinfo(dtype).max, 32).astype(dtype)
    array = np.broadcast_to(steps[:, None, None], (32, 32, channels)).copy()
    stream = io.BytesIO()
    notes = " ".join(encode_to(from_array(array), stream, format=format))
    back = decode(stream.getvalue())
    lossy = format in ("jpg", "webp", "avif")
    assert ("16 bits were reduced to 8" in notes) == (lossy and dtype == np.uint16)
    assert ("laid on white" in notes) == (format == "jpg" and channels in (2, 4))
    assert back.bits == (8 if lossy else np.dtype(dtype).itemsize * 8)
    assert (back.alpha is not None) == (channels in (2, 4) and format != "jpg")
    assert back.channels == (3 if channels > 2 or format in ("webp", "avif") else 1)
    if not lossy and format != "jxl":
        np.testing.assert_array_equal(back.to_array().reshape(array.shape), array)


def test_jpeg_lays_transparent_pixels_on_white() -> None:
    array = np.zeros((16, 16, 4), np.uint8)
    array[:8, :, 3] = 255
    back = decode(bytes_of(from_array(array), "jpg")).pixels
    assert back[:7].max() <= 2
    assert back[9:].min() >= 253


def test_lossless_webp_keeps_every_pixel_those_under_nothing_too() -> None:
    picture = from_array(noise(40, 30, 4))
    back = decode(bytes_of(picture, "webp", quality="lossless"))
    np.testing.assert_array_equal(back.to_array(), picture.to_array())
    with pytest.raises(PictureError, match="loses something"):
        bytes_of(picture, "jpg", quality="lossless")
    with pytest.raises(PictureError, match="leave the quality out"):
        bytes_of(picture, "png", quality=90)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_jpeg_xl_keeps_every_bit(channels: int, dtype: type) -> None:
    picture = from_array(noise(40, 30, channels, dtype=dtype))
    data = bytes_of(picture, "jxl", quality="lossless")
    np.testing.assert_array_equal(decode(data).to_array().reshape(40, 30, channels), picture.to_array())
    sizes = [len(bytes_of(picture, "jxl", quality=quality)) for quality in (1, 20, 60, 100)]
    assert sizes == sorted(sizes)


def test_a_pillow_without_avif_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL._avif", None)
    with pytest.raises(MissingPackageError, match=r"^Pillow here was built without avif: pip install .* pillow, or"):
        bytes_of(from_array(noise(4, 5, 3)), "avif")


def test_quality_trades_size() -> None:
    picture = from_array(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    for format in ("jpg", "webp"):
        sizes = [len(bytes_of(picture, format, quality=quality)) for quality in (10, 60, 100)]
        assert sizes == sorted(sizes)
        with pytest.raises(PictureError, match="quality is from 1 to 100"):
            bytes_of(picture, format, quality=101)


@pytest.mark.parametrize(
    ("format", "side", "fits"), [("jpg", 65_500, True), ("jpg", 65_501, False), ("webp", 16_384, False)]
)
def test_sides_beyond_the_format_name_one_that_can(format: str, side: int, fits: bool, tmp_path: Path) -> None:
    picture = from_array(np.zeros((1, side), np.uint8))
    path = tmp_path / f"wide.{format}"
    if fits:
        encode(picture, path)
        assert Image.open(path).size == (side, 1)
    else:
        with pytest.raises(PictureError, match=rf"at most .* pixels a side, not {side:,} x 1: write png or tiff"):
            encode(picture, path)
        assert os.listdir(tmp_path) == []


def test_a_name_that_exists_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"mine")
    picture = from_array(np.zeros((2, 2), np.uint8))
    with pytest.raises(PictureError, match=r"photo\.png exists: give --overwrite"):
        encode(picture, path)
    assert path.read_bytes() == b"mine"
    encode(picture, path, overwrite=True)
    assert decode(path).width == 2


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"old")
    link = tmp_path / "link.png"
    link.symlink_to("target.png")
    encode(from_array(np.zeros((2, 2), np.uint8)), link, overwrite=True)
    assert link.is_symlink()
    assert decode(tmp_path / "target.png").width == 2


def test_folders_are_made_and_folders_are_no_files(tmp_path: Path) -> None:
    picture = from_array(np.zeros((2, 2), np.uint8))
    encode(picture, tmp_path / "a" / "b" / "c.png")
    assert decode(tmp_path / "a/b/c.png").width == 2
    with pytest.raises(PictureError, match="is a folder"):
        encode(picture, tmp_path / "a", format="png", overwrite=True)
    with pytest.raises(PictureError, match=r"cannot write .*c\.png/d\.png: "):
        encode(picture, tmp_path / "a/b/c.png/d.png")
    with pytest.raises(PictureError, match="File name too long"):
        check_target(tmp_path / ("x" * 300 + ".png"), overwrite=False)


def test_suffixes_name_formats() -> None:
    named = {suffix: format_of(Path(f"a{suffix}")) for suffix in (".png", ".JPG", ".jpeg", ".webp", ".tif", ".tiff")}
    assert list(named.values()) == ["png", "jpg", "jpg", "webp", "tiff", "tiff"]
    for name in ("a.gif", "a"):
        with pytest.raises(PictureError, match=r"does not end in a format .*: end it in \.png"):
            format_of(Path(name))
    with pytest.raises(PictureError, match="'gif' cannot be written: give one of png, jpg, webp, tiff"):
        encode_to(from_array(np.zeros((2, 2), np.uint8)), io.BytesIO(), format="gif")


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_that_is_given_up_leaves_nothing(format: str, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError, match="given up"):
        encode(from_array(noise(30, 40)), tmp_path / f"photo.{format}", stop=stop)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_interrupted_file_leaves_nothing(stop: type[BaseException], tmp_path: Path) -> None:
    def interrupted() -> None:
        with picture_file(tmp_path / "photo.png") as file:
            file.write(b"half")
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_said_so(format: str) -> None:
    picture = from_array(RNG.integers(0, 256, (300, 300, 3), np.uint8))
    with pytest.raises(PictureError, match="cannot write /dev/full: the disk of /dev is full: make room"):
        encode(picture, Path("/dev/full"), format=format)
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("format", FORMATS)
def test_running_out_of_room_in_the_middle_leaves_nothing(format: str, tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import numpy as np
from srgan_trt.imaging.encode import encode
from srgan_trt.imaging.picture import from_array
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
picture = from_array(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    encode(picture, Path({str(tmp_path)!r}) / "photo.{format}")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path}/photo.{format}: {tmp_path} takes no file so large")
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []


def test_a_closed_pipe_is_said_so() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        os.fdopen(writer, "wb", buffering=0) as stream,
        pytest.raises(PictureError, match="standard output: Broken pipe"),
    ):
        encode_to(from_array(np.zeros((9, 9), np.uint8)), stream, format="png")


def test_results_have_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        encode(from_array(np.zeros((2, 2), np.uint8)), tmp_path / "photo.png")
    finally:
        os.umask(before)
    assert (tmp_path / "photo.png").stat().st_mode & 0o777 == 0o640
