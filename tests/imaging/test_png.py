"""PNG as written here, read by independent decoders."""

from __future__ import annotations

import io
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from srgan_trt.imaging import png
from srgan_trt.imaging.metadata import Metadata
from srgan_trt.imaging.picture import Picture, from_array

RNG = np.random.default_rng(11)


def written(picture: Picture) -> bytes:
    file = io.BytesIO()
    png.write(file, picture)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (1, 9000), (2000, 1), (700, 900)])
def test_libpng_reads_the_same_levels(dtype: type, channels: int, size: tuple[int, int]) -> None:
    array = RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    decoded = imagecodecs.png_decode(written(from_array(array)))
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded.reshape(array.shape), array)


def test_pillow_reads_the_same_levels_of_a_real_photo(shared_images: Path) -> None:
    with Image.open(sorted(shared_images.glob("train/**/*.jpg"))[0]) as image:
        array = np.asarray(image.resize((1900, 1300)))
    data = written(from_array(array))
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), array)


def test_a_photo_is_small_and_quick(shared_images: Path) -> None:
    with Image.open(sorted(shared_images.glob("train/**/*.jpg"))[3]) as image:
        array = np.asarray(image.resize((1920, 1280), Image.Resampling.LANCZOS))
    start = time.process_time()
    data = written(from_array(array))
    seconds = time.process_time() - start
    reference = io.BytesIO()
    Image.fromarray(array).save(reference, "PNG")
    assert len(data) < 1.1 * len(reference.getvalue())
    # Of all cores together; measured 0.07, and 0.6 with zlib's default.
    assert seconds < 0.3


def test_profile_resolution_and_exif_are_read_back() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271] = "Maker"
    metadata = Metadata(exif=exif.tobytes()[6:], icc=profile, dpi=(300, 72))
    data = written(Picture(pixels=np.zeros((2, 3, 3), np.uint8), metadata=metadata))
    kinds = [kind for kind, _ in png.chunks(data)]
    assert kinds == [b"IHDR", b"iCCP", b"pHYs", b"eXIf", b"IDAT", b"IEND"]
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((300, 72), abs=0.02)
        assert image.getexif()[271] == "Maker"


def test_only_a_few_bands_are_in_memory() -> None:
    import tracemalloc

    class Nowhere(io.RawIOBase):
        def write(self, data: object) -> int:
            return len(memoryview(data))  # type: ignore[arg-type]

    picture = from_array(np.zeros((6000, 4000, 4), np.uint8))
    tracemalloc.start()
    png.write(Nowhere(), picture)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 < picture.pixels.nbytes


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_of_parts_join_to_that_of_the_whole(first: bytes, second: bytes) -> None:
    joined = png._adler32_joined(zlib.adler32(first), zlib.adler32(second), len(second))
    assert joined == zlib.adler32(first + second)
