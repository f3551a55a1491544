"""The CUDA kernels, built for the host from the source that nvcc compiles, give what the CPU extension gives, bit for
bit; they touch nothing else, and move hardly more bytes than they must."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt import _pixels
from srgan_trt.runtime.gpu.launch_geometry import LaunchGeometry, unpack_launch

from ..cuda_host import kernels

LEVELS = [np.uint8, np.uint16]
ELEMENTS = [np.float16, np.float32]
FAR = 2**31 - 1


def placed(shape: tuple[int, ...], dtype: type, *, past: int = 0) -> NDArray:
    """An array `past` values after a multiple of 16 bytes, whose memory ends where the array ends."""
    size = np.dtype(dtype).itemsize
    memory = np.zeros(past * size + int(np.prod(shape)) * size, np.uint8)
    assert memory.ctypes.data % 16 == 0
    return memory[past * size :].view(dtype).reshape(shape)


def random_image(shape: tuple[int, int, int], dtype: type, *, seed: int = 0, past: int = 0) -> NDArray:
    image = placed(shape, dtype, past=past)
    image[...] = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return image


def random_tensor(shape: tuple[int, ...], dtype: type, *, seed: int = 0, special: float = 0.02) -> NDArray:
    """Values that overshoot 0..1 now and then; a fraction `special` of them is NaN, infinite, huge or tiny."""
    rng = np.random.default_rng(seed)
    huge, tiny = (65504, 6e-8) if dtype is np.float16 else (3.4e38, 1e-45)
    odd_ones = np.array([np.nan, np.inf, -np.inf, huge, -huge, tiny, -0.0], dtype)
    values = rng.normal(0.5, 0.4, shape).astype(dtype)
    return np.where(rng.random(shape) < special, rng.choice(odd_ones, shape), values)


def packed(image: NDArray, y: int, x: int, height: int, width: int, scale: float, bias: float) -> NDArray[np.float32]:
    """The CPU extension's window."""
    tensor = np.empty((3, height, width), np.float32)
    _pixels.pack(image, tensor, y=y, x=x, scale=scale, bias=bias)
    return tensor


def check_pack(
    image: NDArray,
    origins: list[tuple[int, int]],
    height: int,
    width: int,
    element: type,
    *,
    scale: float = 1 / 127.5,
    bias: float = -1.0,
    past: int = 0,
    geometry: LaunchGeometry | None = None,
) -> None:
    tensor = placed((len(origins), 3, height, width), element, past=past)
    table = kernels.jobs(*({"y": y, "x": x} for y, x in origins))
    before = image.copy()
    kernels.pack(image, table, tensor, scale=scale, bias=bias, geometry=geometry)
    with np.errstate(over="ignore"):
        expected = [packed(image, y, x, height, width, scale, bias).astype(element) for y, x in origins]
    np.testing.assert_array_equal(tensor.view(f"u{tensor.itemsize}"), np.stack(expected).view(f"u{tensor.itemsize}"))
    np.testing.assert_array_equal(image, before)


def check_unpack(
    tensor: NDArray,
    size: tuple[int, int, int],
    dtype: type,
    regions: list[dict[str, int]],
    *,
    shuffle: int,
    scale: float | None = None,
    bias: float = 0.0,
    past: int = 0,
    geometry: LaunchGeometry | None = None,
) -> None:
    """Compares the whole canvas, so that a level written beside a region shows."""
    scale = float(np.iinfo(dtype).max) if scale is None else scale
    image = random_image(size, dtype, seed=7, past=past)
    expected, before = image.copy(), tensor.copy()
    counts = []
    for values, region in zip(tensor.astype(np.float32), regions, strict=True):
        cpu = {name.removeprefix("out_"): value for name, value in region.items()}
        counts.append(_pixels.unpack(values, expected, shuffle=shuffle, scale=scale, bias=bias, **cpu))
    found = kernels.unpack(
        tensor, kernels.jobs(*regions), image, shuffle=shuffle, scale=scale, bias=bias, geometry=geometry
    )
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(tensor, before)
    assert found == counts


def region(top: int, left: int, out_y: int, out_x: int, out_height: int, out_width: int) -> dict[str, int]:
    return dict(zip(("top", "left", "out_y", "out_x", "out_height", "out_width"), locals().values(), strict=True))


# ---------------------------------------------------------------------------------------------------------- pack


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("channels", [3, 1])
def test_windows_that_leave_the_picture_on_every_side(level: type, element: type, channels: int) -> None:
    image = random_image((37, 53, channels), level)
    origins = [(-9, -11), (-9, 30), (20, -11), (20, 30), (3, 5), (-100, 7), (7, -100), (100, 100), (-1, 0), (0, 1)]
    check_pack(image, origins, 24, 40, element)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 1), (3, 31), (2, 65), (2, 257), (33, 96), (1, 600)])
def test_windows_of_every_width(level: type, element: type, height: int, width: int) -> None:
    for channels in (3, 1):
        image = random_image((11, 300, channels), level, past=channels)
        check_pack(image, [(0, 0), (-1, 1), (4, 17), (2, 299 - width)], height, width, element, past=1)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("past", range(16))
def test_pictures_and_tensors_at_every_alignment(level: type, past: int) -> None:
    image = random_image((3, 67, 3), level, past=past)
    check_pack(image, [(-1, past), (0, -past)], 3, 61 + past % 4, np.float16, past=past)
    check_pack(image, [(-1, past), (0, -past)], 3, 61 + past % 4, np.float32, past=past)


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_picture_of_one_pixel(element: type) -> None:
    for channels in (3, 1):
        check_pack(random_image((1, 1, channels), np.uint8), [(0, 0), (-3, -3), (9, 9)], 5, 19, element)


def test_windows_as_far_away_as_a_job_can_say() -> None:
    image = random_image((5, 9, 3), np.uint8)
    check_pack(image, [(-FAR - 1, -FAR - 1), (FAR, FAR), (-FAR - 1, FAR), (FAR, -FAR - 1)], 3, 20, np.float16)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_becomes_the_nearest_float16(level: type) -> None:
    """Also where it overflows to infinity and underflows to subnormal values."""
    image = np.arange(np.iinfo(level).max + 1, dtype=level).reshape(-1, 128, 1)
    for scale, bias in [(1 / np.iinfo(level).max, 0.0), (2 / np.iinfo(level).max, -1.0), (300.0, -7.0), (1e-7, 0.0)]:
        check_pack(image, [(0, 0)], image.shape[0], 128, np.float16, scale=scale, bias=bias)


def test_a_batch_begins_at_its_first_job() -> None:
    image = random_image((20, 20, 3), np.uint8)
    table = kernels.jobs(*({"y": i, "x": 2 * i} for i in range(5)))
    tensor = np.zeros((2, 3, 8, 16), np.float32)
    kernels.pack(image, table, tensor, first=3)
    for i in range(2):
        np.testing.assert_array_equal(tensor[i], packed(image, 3 + i, 6 + 2 * i, 8, 16, 1, 0))


# -------------------------------------------------------------------------------------------------------- unpack


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("shuffle", [1, 2, 3, 4, 5])
def test_whole_tensors(element: type, level: type, channels: int, shuffle: int) -> None:
    for width in (1, 13, 64, 150):
        tensor = random_tensor((1, 3 * shuffle**2, 3, width), element)
        height, width = 3 * shuffle, width * shuffle
        whole = [region(0, 0, 0, 0, height, width)]
        check_unpack(tensor, (height, width, channels), level, whole, shuffle=shuffle)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("shuffle", [1, 2, 3, 4])
def test_crops_that_begin_and_end_at_every_phase(element: type, channels: int, shuffle: int) -> None:
    tensor = random_tensor((1, 3 * shuffle**2, 4, 24), element)
    for top in range(shuffle):
        for left in range(shuffle + 1):
            for width in (*range(1, shuffle + 2), 24 * shuffle - left - left % 3):
                crop = [region(top, left, 1, left % 5, 3 * shuffle - top, width)]
                check_unpack(tensor, (4 * shuffle, 30 * shuffle, channels), np.uint8, crop, shuffle=shuffle)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shuffle", [1, 2, 4])
def test_canvases_at_every_alignment(level: type, shuffle: int) -> None:
    """Rows of 256 output pixels fill a group's shared memory to the last level."""
    tensor = random_tensor((2, 3 * shuffle**2, 2, 256 // shuffle), np.float16)
    for past in range(16):
        jobs = [region(0, 0, 0, past, shuffle, 256), region(1, past, 4, 0, shuffle, 256 - past)]
        check_unpack(tensor, (8, 280, 3), level, jobs, shuffle=shuffle, past=past)


@pytest.mark.parametrize("level", LEVELS)
def test_blocks_full_to_the_last_level_of_the_last_row(level: type) -> None:
    """16 groups of 8 lanes, 64 tensor pixels each, in a canvas whose rows begin everywhere in their 16 bytes."""
    tensor = random_tensor((1, 48, 4, 64), np.float32)
    for past in range(16):
        whole = [region(0, 0, 0, 5, 16, 256)]
        check_unpack(tensor, (16, 261, 3), level, whole, shuffle=4, past=past)


def test_a_batch_of_different_regions() -> None:
    """Each job's values are counted for itself; a region of no size writes nothing."""
    tensor = random_tensor((4, 12, 9, 21), np.float32, special=0.2)
    jobs = [region(0, 0, 0, 0, 18, 42), region(3, 5, 18, 1, 7, 30), region(17, 41, 25, 0, 1, 1)]
    check_unpack(tensor[:3], (30, 45, 3), np.uint8, jobs, shuffle=2)
    image = random_image((30, 45, 3), np.uint8)
    before = image.copy()
    assert kernels.unpack(tensor[:1], kernels.jobs({}), image, shuffle=2) == [0]
    np.testing.assert_array_equal(image, before)


def test_a_batch_without_regions_has_a_grid_all_the_same() -> None:
    """A driver refuses a launch of no blocks."""
    assert unpack_launch(9, 21, out_height=0, shuffle=2, channels=3, count=1).grid == (1, 1, 1)


def test_counters_are_added_to_at_the_job_they_belong_to() -> None:
    tensor = np.full((2, 3, 2, 2), np.nan, np.float16)
    table = kernels.jobs(*(region(0, 0, 0, 0, 1 + i, 1) for i in range(2) for _ in range(2)))
    image = np.ones((2, 2, 3), np.uint8)
    assert kernels.unpack(tensor, table, image, shuffle=1, first=1) == [0, 3, 6, 0]
    assert image[:, 0].max() == 0
    assert image[:, 1].min() == 1


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("level", LEVELS)
def test_every_float16(level: type, channels: int) -> None:
    """All 65536 of them, NaNs with every payload among them, to levels at two scales."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024)
    tensor = np.stack([values, values[::-1], np.roll(values, 5)])[None]
    for scale, bias in [(1.0, 0.0), (127.5, 127.5)]:
        whole = [region(0, 0, 0, 0, 64, 1024)]
        check_unpack(tensor, (64, 1024, channels), level, whole, shuffle=1, scale=scale, bias=bias)


def test_ties_round_to_even() -> None:
    ties = np.arange(255, dtype=np.float32) + np.float32(0.5)
    for values in (ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(300))):
        tensor = np.broadcast_to(values, (1, 3, 1, 255)).copy()
        check_unpack(tensor, (1, 255, 3), np.uint8, [region(0, 0, 0, 0, 1, 255)], shuffle=1, scale=1.0)


# ------------------------------------------------------------------------------------------- geometry and memory


def test_the_largest_shuffle() -> None:
    tensor = random_tensor((1, 3 * 256**2, 1, 2), np.float16)
    check_unpack(tensor, (256, 512, 3), np.uint16, [region(3, 9, 0, 0, 20, 500)], shuffle=256)


GEOMETRIES = [
    LaunchGeometry((1, 1, 1), (8, 1, 1)),
    LaunchGeometry((1, 1, 1), (32, 4, 1)),
    LaunchGeometry((2, 3, 1), (16, 2, 1)),
    LaunchGeometry((50, 50, 1), (8, 16, 1)),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_any_grid_gives_the_same(geometry: LaunchGeometry) -> None:
    image = random_image((40, 80, 3), np.uint16)
    check_pack(image, [(-3, -5)], 33, 171, np.float16, geometry=geometry)
    tensor = random_tensor((1, 48, 9, 101), np.float16)
    whole = [region(1, 3, 2, 2, 30, 390)]
    check_unpack(tensor, (36, 404, 3), np.uint16, whole, shuffle=4, geometry=geometry)


def on_large_memory(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Zeros that take no memory until they are written."""
    return np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)


def test_pictures_beyond_two_gigabytes() -> None:
    height, width = 40000, 36000
    picture = on_large_memory((height, width, 3))
    corner = random_image((20, 30, 3), np.uint8)
    picture[-20:, -30:] = corner
    tensor = np.zeros((1, 3, 16, 24), np.float16)
    kernels.pack(picture, kernels.jobs({"y": height - 16, "x": width - 24}), tensor)
    np.testing.assert_array_equal(tensor[0], corner[4:, 6:].transpose(2, 0, 1))
    picture[-20:, -30:] = 0
    kernels.unpack(tensor, kernels.jobs(region(0, 0, height - 16, width - 24, 16, 24)), picture, shuffle=1)
    np.testing.assert_array_equal(picture[-16:, -24:], corner[4:, 6:])
    assert not picture[-20:, -30:-24].any()
    assert not picture[-20:-16, -30:].any()


TILES = [(96, 96, 40, 40), (128, 128, 7, 13), (192, 192, 1, 1), (100, 100, 3, 5), (125, 83, 0, 0), (64, 512, 11, 17)]


@pytest.mark.parametrize(("height", "width", "y", "x"), TILES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("element", ELEMENTS)
def test_pack_moves_at_most_a_tenth_more_than_the_minimum(
    height: int, width: int, y: int, x: int, level: type, element: type
) -> None:
    image = kernels.on_sector((300, 601, 3), level)
    tensor = kernels.on_sector((1, 3, height, width), element)
    counts = kernels.moved(lambda: kernels.pack(image, kernels.jobs({"y": y, "x": x}), tensor))
    minimum = height * width * 3 * (image.itemsize + tensor.itemsize)
    assert minimum <= 32 * (counts.sectors_read + counts.sectors_written) <= 1.1 * minimum


@pytest.mark.parametrize(("height", "width", "y", "x"), TILES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("shuffle", [1, 2, 4])
def test_unpack_moves_at_most_a_tenth_more_than_the_minimum(
    height: int, width: int, y: int, x: int, level: type, element: type, shuffle: int
) -> None:
    height //= shuffle  # the rows say little more
    tensor = kernels.on_sector((1, 3 * shuffle**2, height, width), element)
    image = kernels.on_sector((300, 2101, 3), level)
    out_height, out_width = height * shuffle, width * shuffle
    table = kernels.jobs(region(0, 0, y, x, out_height, out_width))
    counts = kernels.moved(lambda: kernels.unpack(tensor, table, image, shuffle=shuffle))
    minimum = out_height * out_width * 3 * (image.itemsize + tensor.itemsize)
    assert minimum <= 32 * (counts.sectors_read + counts.sectors_written) <= 1.1 * minimum


def test_aligned_tiles_are_moved_sixteen_bytes_at_a_time() -> None:
    image = kernels.on_sector((256, 512, 3), np.uint8)
    tensor = kernels.on_sector((1, 3, 128, 256), np.float16)
    assert kernels.moved(lambda: kernels.pack(image, kernels.jobs({"y": 5, "x": 128}), tensor)).narrow == 0
    tensor = kernels.on_sector((1, 48, 32, 64), np.float16)
    table = kernels.jobs(region(0, 0, 3, 128, 128, 256))
    assert kernels.moved(lambda: kernels.unpack(tensor, table, image, shuffle=4)).narrow == 0
