"""pack: a window of a picture becomes network input, exactly as the NumPy reference says."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from . import kernels, pixel_reference

RANGES = {"0..1": (1.0, 0.0), "-1..1": (2.0, -1.0), "0..255": (255.0, 0.0)}


def random_image(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> pixel_reference.Image:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def check(
    image: pixel_reference.Image,
    height: int,
    width: int,
    *,
    y: int,
    x: int,
    scale: float,
    bias: float,
    implementation: str,
) -> None:
    tensor = np.full((3, height, width), np.nan, np.float32)
    before = image.copy()
    kernels.pack(image, tensor, y=y, x=x, scale=scale, bias=bias, implementation=implementation)
    expected = pixel_reference.pack(image, height, width, y=y, x=x, scale=scale, bias=bias)
    np.testing.assert_array_equal(tensor, expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("value_range", RANGES.values(), ids=RANGES.keys())
def test_every_level(dtype: type, channels: int, value_range: tuple[float, float], implementation: str) -> None:
    count = np.iinfo(dtype).max + 1
    image = np.random.default_rng(1).permutation(count * channels).reshape(16, -1, channels) % count
    span, low = value_range
    check(
        image.astype(dtype),
        16,
        image.shape[1],
        y=0,
        x=0,
        scale=span / (count - 1),
        bias=low,
        implementation=implementation,
    )


@pytest.mark.parametrize(
    ("y", "x"),
    [(0, 0), (3, 2), (-4, 0), (0, -5), (7, 0), (0, 20), (-3, -3), (9, 30), (-40, 5), (40, 5), (5, -90), (5, 90)],
)
def test_outside_the_picture_its_border_is_repeated(y: int, x: int, implementation: str) -> None:
    check(random_image(13, 41, 3, np.uint8), 11, 37, y=y, x=x, scale=2 / 255, bias=-1, implementation=implementation)


@pytest.mark.parametrize("far", [2**31, -(2**31), 2**63 - 1, -(2**63)])
def test_a_window_however_far_away(far: int, implementation: str) -> None:
    image = random_image(3, 4, 3, np.uint8)
    tensor = np.empty((3, 2, 2), np.float32)
    kernels.pack(image, tensor, y=far, x=far, scale=1, bias=0, implementation=implementation)
    corner = image[-1, -1] if far > 0 else image[0, 0]
    np.testing.assert_array_equal(tensor, np.broadcast_to(corner[:, None, None], tensor.shape))


@example(image_size=(1, 1), window=(1, 1), origin=(0, 0), channels=3, dtype=np.uint8, scale=1 / 255, bias=0.0, seed=0)
@example(image_size=(1, 700), window=(2, 900), origin=(0, -9), channels=3, dtype=np.uint8, scale=1, bias=0.0, seed=0)
@settings(deadline=None, max_examples=150)
@given(
    image_size=st.tuples(st.integers(1, 40), st.integers(1, 600)),
    window=st.tuples(st.integers(1, 20), st.integers(1, 600)),
    origin=st.tuples(st.integers(-50, 50), st.integers(-700, 700)),
    channels=st.sampled_from([3, 1]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    scale=st.floats(-1e3, 1e3, width=32),
    bias=st.floats(-1e3, 1e3, width=32),
    seed=st.integers(0, 2**32),
)
def test_any_window(
    image_size: tuple[int, int],
    window: tuple[int, int],
    origin: tuple[int, int],
    channels: int,
    dtype: type,
    scale: float,
    bias: float,
    seed: int,
) -> None:
    image = random_image(*image_size, channels, dtype, seed)
    for name in kernels.names():
        check(image, *window, y=origin[0], x=origin[1], scale=scale, bias=bias, implementation=name)


def test_a_read_only_picture_is_enough(implementation: str) -> None:
    image = random_image(5, 6, 3, np.uint8)
    image.flags.writeable = False
    check(image, 5, 6, y=0, x=0, scale=1, bias=0, implementation=implementation)


def test_a_photo(shared_images: Path) -> None:
    from PIL import Image

    path = sorted(path for path in shared_images.rglob("*") if path.suffix in {".png", ".jpg"})[0]
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB"))
    for name in kernels.names():
        check(image, 97, 131, y=image.shape[0] - 60, x=-8, scale=2 / 255, bias=-1, implementation=name)


def test_threads_share_a_picture(implementation: str) -> None:
    image = random_image(300, 400, 3, np.uint8)
    expected = [pixel_reference.pack(image, 256, 256, y=y, x=-y, scale=2 / 255, bias=-1) for y in range(2)]
    wrong: list[int] = []

    def work(y: int) -> None:
        tensor = np.empty((3, 256, 256), np.float32)
        for _ in range(50):
            tensor[:] = np.nan
            kernels.pack(image, tensor, y=y, x=-y, scale=2 / 255, bias=-1, implementation=implementation)
            if not np.array_equal(tensor, expected[y]):
                wrong.append(y)

    threads = [threading.Thread(target=work, args=(y,)) for y in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
