"""unpack: network output becomes a part of a picture, exactly as the NumPy reference says."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from . import kernels, pixel_reference

SHUFFLES = [1, 2, 3, 4, 5]


def random_tensor(r: int, height: int, width: int, seed: int = 0, *, special: float = 0.0) -> NDArray[np.float32]:
    """Values that overshoot -1..1 now and then; a fraction `special` of them is NaN, infinite, huge or tiny."""
    rng = np.random.default_rng(seed)
    tensor = rng.normal(0, 0.7, (3 * r * r, height, width)).astype(np.float32)
    odd_ones = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0], np.float32)
    return np.where(rng.random(tensor.shape) < special, rng.choice(odd_ones, tensor.shape), tensor)


def unpack(
    tensor: NDArray[np.float32],
    image: pixel_reference.Image,
    implementation: str,
    *,
    shuffle: int = 1,
    top: int = 0,
    left: int = 0,
    y: int = 0,
    x: int = 0,
    height: int | None = None,
    width: int | None = None,
    scale: float = 1,
    bias: float = 0,
) -> int:
    """The kernel, on the whole tensor unless told otherwise."""
    return kernels.unpack(
        tensor,
        image,
        shuffle=shuffle,
        top=top,
        left=left,
        y=y,
        x=x,
        height=tensor.shape[1] * shuffle if height is None else height,
        width=tensor.shape[2] * shuffle if width is None else width,
        scale=scale,
        bias=bias,
        implementation=implementation,
    )


def check(
    tensor: NDArray[np.float32], size: tuple[int, int, int], dtype: type, implementation: str, **arguments: int | float
) -> None:
    """Compares the whole picture, so that a level written beside the region shows."""
    before = np.random.default_rng(9).integers(0, np.iinfo(dtype).max, size, dtype)
    expected, image, input_before = before.copy(), before.copy(), tensor.copy()
    count = pixel_reference.unpack(tensor, expected, **arguments)
    assert kernels.unpack(tensor, image, implementation=implementation, **arguments) == count
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(tensor, input_before)


def levels_of(
    values: NDArray[np.float32], dtype: type, implementation: str, *, scale: float = 1, bias: float = 0
) -> list[int]:
    """Levels of a run of values, through a gray-looking picture of one row."""
    tensor = np.repeat(values.astype(np.float32)[None, None, :], 3, axis=0)
    image = np.zeros((1, len(values), 3), dtype)
    unpack(tensor, image, implementation, scale=scale, bias=bias)
    assert (image == image[..., :1]).all()
    return image[0, :, 0].tolist()


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(("dtype", "half"), [(np.uint8, 127.5), (np.uint16, 32767.5)])
def test_a_whole_tensor(shuffle: int, channels: int, dtype: type, half: float, implementation: str) -> None:
    tensor = random_tensor(shuffle, 5, 1031, special=0.01)
    height, width = 5 * shuffle, 1031 * shuffle
    arguments = {"top": 0, "left": 0, "y": 0, "x": 0, "height": height, "width": width, "scale": half, "bias": half}
    check(tensor, (height, width, channels), dtype, implementation, shuffle=shuffle, **arguments)


def test_channel_order_is_depth_to_space(implementation: str) -> None:
    """Channel (a*r + b)*3 + c holds colour c of row a, column b: spelled out once without the reference."""
    tensor = np.arange(12, dtype=np.float32).reshape(12, 1, 1)
    image = np.zeros((2, 2, 3), np.uint8)
    unpack(tensor, image, implementation, shuffle=2)
    assert image.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_tie_rounds_to_even(dtype: type, implementation: str) -> None:
    highest = np.iinfo(dtype).max
    ties = np.arange(highest, dtype=np.float32) + np.float32(0.5)
    lower = np.arange(highest)
    assert levels_of(ties, dtype, implementation) == (lower + lower % 2).tolist()
    below, above = np.nextafter(ties, np.float32(-1)), np.nextafter(ties, np.float32(np.inf))
    assert levels_of(below, dtype, implementation) == lower.tolist()
    assert levels_of(above, dtype, implementation) == (lower + 1).tolist()


def test_values_beyond_the_range_are_clipped(implementation: str) -> None:
    values = np.array([-np.inf, -3e38, -0.6, -0.5, -0.0, 254.5, 255.4, 300, 3e38, np.inf, np.nan], np.float32)
    assert levels_of(values, np.uint8, implementation) == [0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 0]
    assert levels_of(values[:10], np.uint8, implementation, scale=-1, bias=255)[-1] == 0
    # Infinity times zero is NaN, and NaN is 0.
    assert levels_of(values[-2:], np.uint8, implementation, scale=0, bias=7) == [0, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_scale_is_fused(dtype: type, implementation: str) -> None:
    """Values that land beside ties, where a product rounded on its own gives another level."""
    half = np.iinfo(dtype).max / 2
    scale, bias = half * 1.0001, half * 0.9999
    ties = np.arange(np.iinfo(dtype).max) + 0.5
    values = ((ties - np.float32(bias)) / np.float32(scale)).astype(np.float32)
    expected = pixel_reference.levels(values[None, :, None], np.dtype(dtype), 3, scale=scale, bias=bias).ravel()
    rounded_twice = np.rint(np.clip(values * np.float32(scale) + np.float32(bias), 0, 2 * half)).astype(dtype)
    assert (expected != rounded_twice).any()
    assert levels_of(values, dtype, implementation, scale=scale, bias=bias) == expected.tolist()


def test_gray_is_the_luma_of_the_colours_that_would_be_stored(implementation: str) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77], [400, -100, 0], [np.nan, 255, np.inf]])
    tensor = colours.T.astype(np.float32).reshape(3, 1, 6).copy()
    image = np.zeros((1, 6, 1), np.uint8)
    not_finite = unpack(tensor, image, implementation)
    assert image.ravel().tolist() == [76, 150, 29, 77, 76, 179]
    assert not_finite == 2


def test_only_the_regions_values_are_counted(implementation: str) -> None:
    tensor = np.full((12, 4, 4), np.nan, np.float32)
    tensor[:, 1, 1] = 0
    image = np.zeros((8, 8, 3), np.uint8)
    for top, left, height, width, expected in [(2, 2, 2, 2, 0), (1, 2, 2, 2, 6), (0, 0, 8, 8, 180), (2, 1, 1, 1, 3)]:
        region = {"top": top, "left": left, "height": height, "width": width}
        assert unpack(tensor, image, implementation, shuffle=2, **region) == expected


@example(shuffle=4, tensor_size=(1, 1), crop=(0, 0, 0, 0), margin=(0, 0, 0, 0), channels=3, dtype=np.uint8, seed=0)
@example(shuffle=2, tensor_size=(2, 1100), crop=(0, 0, 1, 1), margin=(0, 1, 0, 2), channels=3, dtype=np.uint8, seed=0)
@settings(deadline=None, max_examples=200)
@given(
    shuffle=st.sampled_from(SHUFFLES),
    tensor_size=st.tuples(st.integers(1, 9), st.integers(1, 200)),
    crop=st.tuples(*[st.floats(0, 1)] * 4),
    margin=st.tuples(*[st.integers(0, 3)] * 4),
    channels=st.sampled_from([3, 1]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32),
)
def test_any_region(
    shuffle: int,
    tensor_size: tuple[int, int],
    crop: tuple[float, float, float, float],
    margin: tuple[int, int, int, int],
    channels: int,
    dtype: type,
    seed: int,
) -> None:
    full_height, full_width = tensor_size[0] * shuffle, tensor_size[1] * shuffle
    top, left = int(crop[0] * (full_height - 1)), int(crop[1] * (full_width - 1))
    height, width = 1 + int(crop[2] * (full_height - top - 1)), 1 + int(crop[3] * (full_width - left - 1))
    above, before, below, behind = margin
    half = np.iinfo(dtype).max / 2
    for name in kernels.names():
        check(
            random_tensor(shuffle, *tensor_size, seed, special=0.05),
            (above + height + below, before + width + behind, channels),
            dtype,
            name,
            shuffle=shuffle,
            top=top,
            left=left,
            y=above,
            x=before,
            height=height,
            width=width,
            scale=half,
            bias=half,
        )


@settings(deadline=None, max_examples=200)
@given(
    scale=st.floats(2**-7, 1e5, width=32) | st.floats(-1e5, -(2**-7), width=32) | st.just(0.0),
    bias=st.floats(-1e5, 1e5, width=32) | st.floats(-(2.0**127), 2.0**127, width=32),
    channels=st.sampled_from([3, 1]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32),
)
def test_values_beside_ties_for_any_scale(scale: float, bias: float, channels: int, dtype: type, seed: int) -> None:
    """Where float32's rounding decides the level, and where the product is far larger than the level."""
    rng = np.random.default_rng(seed)
    positions = rng.integers(-1, np.iinfo(dtype).max + 1, (3, 4, 64)) + 0.5
    with np.errstate(all="ignore"):
        values = ((positions - bias) / (scale or 1)).astype(np.float32)
        for _ in range(2):
            up = rng.choice(np.array([-np.inf, np.inf], np.float32), values.shape)
            values = np.where(rng.random(values.shape) < 0.5, np.nextafter(values, up), values)
    region = {"top": 0, "left": 0, "y": 0, "x": 0, "height": 4, "width": 64}
    for name in kernels.names():
        check(values, (4, 64, channels), dtype, name, shuffle=1, scale=scale, bias=bias, **region)


def test_a_picture_of_more_than_four_billion_bytes(tmp_path: Path, implementation: str) -> None:
    """Places near the end of a 48,000 x 36,000 picture (a sparse file: only what is touched takes room)."""
    image = np.memmap(tmp_path / "picture", np.uint8, "w+", shape=(36_000, 48_000, 3))
    tensor = random_tensor(2, 5, 40)
    where = {"y": 35_990, "x": 47_920}
    unpack(tensor, image, implementation, shuffle=2, scale=127.5, bias=127.5, **where)
    expected = pixel_reference.levels(
        pixel_reference.shuffled(tensor, 2), np.dtype(np.uint8), 3, scale=127.5, bias=127.5
    )
    np.testing.assert_array_equal(image[35_990:, 47_920:], expected)
    assert not image[35_989:, 47_910:47_920].any()
    window = np.empty((3, 10, 80), np.float32)
    kernels.pack(image, window, **where, scale=1, bias=0, implementation=implementation)
    np.testing.assert_array_equal(window, expected.transpose(2, 0, 1))


def test_threads_fill_one_picture(implementation: str) -> None:
    tensor = random_tensor(2, 128, 128, special=0.01)
    image = np.zeros((512, 256, 3), np.uint8)
    not_finite = int(np.count_nonzero(~np.isfinite(tensor)))
    counts: list[int] = []

    def work(y: int) -> None:
        for _ in range(20):
            counts.append(unpack(tensor, image, implementation, shuffle=2, y=y, scale=127.5, bias=127.5))

    threads = [threading.Thread(target=work, args=(y,)) for y in (0, 256)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = pixel_reference.levels(
        pixel_reference.shuffled(tensor, 2), np.dtype(np.uint8), 3, scale=127.5, bias=127.5
    )
    np.testing.assert_array_equal(image, np.concatenate([expected, expected]))
    assert counts == [not_finite] * 40


def test_there_and_back(implementation: str) -> None:
    """Every level survives pack and unpack in the usual ranges."""
    for dtype in (np.uint8, np.uint16):
        highest = np.iinfo(dtype).max
        image = np.arange(highest + 1, dtype=dtype).reshape(-1, 256, 1).repeat(3, axis=2)
        tensor = np.empty((3, *image.shape[:2]), np.float32)
        out = np.zeros_like(image)
        for span, low in [(1, 0), (2, -1), (255, 0)]:
            kernels.pack(image, tensor, y=0, x=0, scale=span / highest, bias=low, implementation=implementation)
            unpack(tensor, out, implementation, scale=highest / span, bias=-low * highest / span)
            np.testing.assert_array_equal(out, image)
