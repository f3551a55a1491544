"""How a picture is tiled for a GPU: by counting, not by running."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from srgan_trt.compiler.live_memory import NetworkMemory
from srgan_trt.errors import DeviceError
from srgan_trt.imaging.tiles import TilePlan, plan_tiles
from srgan_trt.runtime.gpu.tiling import (
    WINDOWS,
    batch_size,
    choose_tile,
    engine_side,
    even_batches,
    even_step,
    job_table,
    largest_band,
    largest_engine,
    largest_tile,
    plan_bands,
    seam_step,
    tile_side,
)
from srgan_trt.runtime.pipeline import Schedule
from tests.handmade import small_spec


@pytest.mark.parametrize(("halo", "side"), [(0, 1024), (64, 1024), (120, 1088)])
def test_tiles_grow_with_their_halo(halo: int, side: int) -> None:
    assert tile_side(halo) == side


def planned(size: tuple[int, int], *, engine: tuple[int, int] | None = None, **options: int) -> TilePlan:
    """As the pipeline tiles RGB pictures for a network that enlarges four times."""
    halo, multiple = options["halo"], options["multiple"]
    steps = {"even": even_step(multiple), "align": seam_step(4 * 3)}
    tile = largest_tile(*size, **options, engine=engine)
    return plan_tiles(*size, tile=tile, halo=halo, multiple=multiple, **steps, largest=engine)


@pytest.mark.parametrize(
    ("size", "halo", "multiple", "limit", "tile"),
    [
        ((100, 80), 20, 1, 256, (100, 80)),  # one tile
        ((480, 320), 20, 1, 256, (192, 184)),  # 3 x 2 tiles, of 187 x 180 at least, in steps of 8
        ((480, 320), 20, 8, 256, (192, 184)),  # the same where the network wants it
        ((480, 320), 20, 12, 256, (192, 192)),  # what both want
        ((483, 320), 20, 7, 256, (189, 182)),  # 56 would be too many
        ((1080, 1920), 12, 1, 256, (240, 240)),
        ((1080, 1920), 12, 1, 239, (200, 216)),
        ((480, 320), 20, 1, 32, (72, 72)),  # below two halos and 32 pixels nothing is gained
    ],
)
def test_tile(size: tuple[int, int], halo: int, multiple: int, limit: int, tile: tuple[int, int]) -> None:
    plan = planned(size, halo=halo, multiple=multiple, limit=limit)
    assert (plan.tile_height, plan.tile_width) == tile


@pytest.mark.parametrize("halo", [10, 12])
def test_columns_are_kept_from_where_sixteen_bytes_of_the_canvas_begin(halo: int) -> None:
    plan = planned((1080, 1920), halo=halo, multiple=1, limit=256)
    assert all(tile.keep_x * 4 * 3 % 16 == 0 for tile in plan.tiles)


@pytest.mark.parametrize(
    ("largest", "halo", "multiple", "tile"),
    [
        ((48, 48), 10, 1, (48, 48)),
        ((48, 64), 10, 1, (48, 56)),  # each side has its own bound
        ((48, 48), 10, 4, (48, 48)),
        ((21, 21), 10, 1, (21, 21)),  # a pixel at a time, but it runs
    ],
)
def test_engine_built_before_bounds_the_tiles(
    largest: tuple[int, int], halo: int, multiple: int, tile: tuple[int, int]
) -> None:
    plan = planned((1080, 1920), halo=halo, multiple=multiple, limit=min(largest), engine=largest)
    found = (plan.tile_height, plan.tile_width)
    assert found == tile
    for side, most in zip(found, largest, strict=True):
        assert side <= engine_side(side, min(largest), multiple, most) <= most


def test_halo_that_leaves_nothing_of_an_engine_s_tiles() -> None:
    options = {"halo": 20, "multiple": 1, "limit": 40}
    with pytest.raises(DeviceError, match=r"at most 48 x 40 pixels, which keep nothing between two halos of 20: build"):
        planned((100, 100), **options, engine=(40, 48))
    plan = planned((30, 40), **options, engine=(40, 48))  # no halo in one tile
    assert (plan.tile_height, plan.tile_width) == (30, 40)


def test_engines_are_few() -> None:
    assert {engine_side(length, 1024, 1) for length in range(1, 1025)} == {1024}
    assert {engine_side(length, 1024, 1) for length in range(1025, 1089)} == {1088}
    assert engine_side(200, 250, 8) == 248  # a multiple of what the network wants
    for length, limit in itertools.product((40, 250, 2000), (32, 1024)):
        assert engine_side(length, limit, 8) % 8 == 0
        assert engine_side(length, limit, 8) >= length


def test_batches_fill_the_multiprocessors() -> None:
    assert batch_size(256 * 256, 132) == 4  # H100
    assert batch_size(256 * 256, 58) == 2  # L4
    assert batch_size(256 * 256, 40) == 1  # T4
    assert batch_size(4096 * 4096, 132) == 1


def test_engines_are_no_larger_than_memory_and_tensorrt_take() -> None:
    spec = small_spec(default_halo=4)
    assert largest_engine(spec, NetworkMemory(49, 512), memory=math.inf) == 1024
    assert largest_engine(spec, NetworkMemory(49, 512), memory=200_000_000) == 704  # at 200 bytes a pixel
    assert largest_engine(spec, NetworkMemory(49, 512), memory=1000) == 40
    assert largest_engine(spec, NetworkMemory(49, 4096), memory=math.inf) == 704  # 2^31 values


def tile_of(width: int, height: int, *, pixels: int = 1 << 20, halo: int = 16, multiple: int = 1) -> TilePlan:
    """As the scheduler tiles it where there is memory for `pixels`."""
    tile, exactly = choose_tile(height, width, halo=halo, multiple=multiple, limit=1024, pixels=pixels)
    options = {"halo": halo, "multiple": multiple, "even": even_step(multiple), "align": seam_step(4 * 3)}
    return plan_tiles(height, width, tile=tile, fixed=exactly, **options)


@pytest.mark.parametrize("size", [(480, 320), (1, 1), (1024, 1024), (333, 1001)])
def test_a_picture_that_fits_is_one_tile(size: tuple[int, int]) -> None:
    plan = tile_of(*size)
    assert (len(plan.tiles), plan.tile_width, plan.tile_height) == (1, *size)


@pytest.mark.parametrize("halo", [8, 10, 16])
def test_full_hd_is_four_tiles_and_little_more_work(halo: int) -> None:
    plan = tile_of(1920, 1080, halo=halo)
    assert (plan.tile_width, plan.tile_height, len(plan.tiles)) == (976, 560, 4)
    assert Schedule(plan, streams=2).work < 1.06
    assert all(tile.keep_x * 4 * 3 % 16 == 0 for tile in plan.tiles)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (4032, 3024), (3024, 4032), (6000, 4000)])
@pytest.mark.parametrize("multiple", [1, 8])
def test_larger_pictures_are_in_windows_of_few_sizes_that_stay_inside(width: int, height: int, multiple: int) -> None:
    plan = tile_of(width, height, multiple=multiple)
    assert (plan.tile_height, plan.tile_width) in WINDOWS
    for tile in plan.tiles:
        assert 0 <= tile.y <= height - plan.tile_height
        assert 0 <= tile.x <= width - plan.tile_width


def test_a_size_that_the_few_do_not_suit_has_tiles_of_its_own() -> None:
    """All of the few are higher."""
    plan = tile_of(2000, 300)
    assert (plan.tile_height, plan.tile_width) not in WINDOWS
    assert Schedule(plan, streams=2).work < 1.05


@pytest.mark.parametrize("pixels", [600_000, 200_000, 10_000])
def test_tiles_are_as_large_as_memory_allows(pixels: int) -> None:
    plan = tile_of(1024, 768, pixels=pixels)
    assert plan.tile_area <= pixels
    assert plan.tile_area > pixels / 3  # smaller where that is less work


def test_halo_that_leaves_little_of_the_few_sizes_has_tiles_of_its_own() -> None:
    plan = tile_of(4032, 3024, halo=200)
    assert plan.tile_height > 2 * 200 + 400


def test_batches_are_of_one_size() -> None:
    for count, most in itertools.product(range(1, 60), range(1, 9)):
        each = even_batches(count, most)
        assert each == count if count <= most else most / 2 < each <= most
        assert -(-count // each) * each <= -(-count // most) * most


def test_batches_waste_least() -> None:
    assert even_batches(45, 4) == 3
    assert even_batches(7, 4) == 4


def test_bands_cover_what_their_tiles_see() -> None:
    plan = plan_tiles(200, 50, tile=(40, 40), halo=6)
    (whole,) = plan_bands(plan, row_bytes=150, kept_row_bytes=2400, limit=10**9)
    assert (whole.top, whole.bottom, whole.keep_top, whole.keep_bottom) == (0, 200, 0, 200)
    assert whole.tiles == plan.tiles
    for limit in (0, 120_000, 250_000):
        bands = plan_bands(plan, row_bytes=150, kept_row_bytes=2400, limit=limit)
        assert tuple(tile for band in bands for tile in band.tiles) == plan.tiles
        assert bands[0].keep_top == 0
        assert bands[-1].keep_bottom == 200
        assert all(one.keep_bottom == next_.keep_top for one, next_ in itertools.pairwise(bands))
        for band in bands:
            for tile in band.tiles:
                assert band.top <= tile.y
                assert tile.y + plan.tile_height <= band.bottom
        if limit:
            assert len(bands) > 1
            assert largest_band(bands, row_bytes=150, kept_row_bytes=2400) <= limit
        else:
            assert len(bands) == len({tile.keep_y for tile in plan.tiles})


def test_band_of_tiles_that_leave_the_picture_ends_with_it() -> None:
    plan = plan_tiles(30, 30, tile=(40, 40), halo=6, fixed=True)
    (band,) = plan_bands(plan, row_bytes=1, kept_row_bytes=1, limit=100)
    assert (band.top, band.bottom) == (0, 30)


def test_table_of_jobs() -> None:
    plan = plan_tiles(100, 50, tile=(40, 40), halo=6)
    tiles = plan.tiles[2:]
    table = job_table(tiles, rows=len(tiles) + 2, scale=4, top=20, keep_top=30)
    for job, tile in zip(table, tiles, strict=False):
        assert (job["y"], job["x"]) == (tile.y - 20, tile.x)
        assert (job["top"], job["left"]) == ((tile.keep_y - tile.y) * 4, (tile.keep_x - tile.x) * 4)
        assert (job["out_y"], job["out_x"]) == ((tile.keep_y - 30) * 4, tile.keep_x * 4)
        assert (job["out_height"], job["out_width"]) == (tile.keep_height * 4, tile.keep_width * 4)
    spare = table[len(tiles) :]
    assert np.all(spare["out_height"] == 0)
    assert np.all(spare["y"] == table["y"][0])
