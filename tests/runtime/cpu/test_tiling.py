"""Pictures are tiled so that memory keeps its limit and no core is left idle without need."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from srgan_trt.imaging.tiles import plan_tiles
from srgan_trt.runtime.cpu.tiling import best_streams, best_tile, candidate_tilings, tuned_tile
from srgan_trt.runtime.tuning import TilingConfig

cores = st.sampled_from([1, 2, 3, 4, 6, 8, 16, 64])


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 45), st.integers(1, 4), cores)
def test_what_is_in_flight_stays_within_the_limit(
    height: int, width: int, halo: int, multiple: int, cores: int
) -> None:
    limit = 40_000
    tile = best_tile(height, width, halo=halo, multiple=multiple, cores=cores, limit=limit)
    plan = plan_tiles(height, width, tile=tile, halo=halo, multiple=multiple)
    area = plan.tile_height * plan.tile_width
    streams = best_streams(len(plan.tiles), area, cores=cores, limit=limit)
    assert area * streams <= limit
    assert cores % streams == 0


def test_a_small_picture_is_one_tile_on_all_cores() -> None:
    assert best_tile(64, 64, halo=20, multiple=1, cores=2, limit=100_000) == (64, 64)
    assert best_streams(1, 64 * 64, cores=2, limit=100_000) == 1


def test_many_tiles_run_side_by_side() -> None:
    assert best_streams(100, 10_000, cores=8, limit=100_000) == 8


def test_few_streams_run_where_memory_holds_no_more() -> None:
    assert best_streams(100, 10_000, cores=8, limit=25_000) == 2
    assert best_streams(100, 10_000, cores=8, limit=1) == 1


def test_a_picture_for_two_cores_has_two_tiles() -> None:
    tile = best_tile(320, 480, halo=8, multiple=1, cores=2, limit=200_000)
    assert tile == (320, 248)


def test_a_halo_beyond_the_limit_still_gives_a_tile_that_keeps_something() -> None:
    tile = best_tile(5000, 5000, halo=100, multiple=4, cores=4, limit=10_000)
    assert plan_tiles(5000, 5000, tile=tile, halo=100, multiple=4).tiles
    assert min(tile) > 200


def test_tiling_a_large_picture_is_cheap() -> None:
    started = time.perf_counter()
    best_tile(9_000, 12_000, halo=20, multiple=1, cores=64, limit=100_000)
    assert time.perf_counter() - started < 1.0


def test_a_tuned_tiling_gives_tiles_of_its_side() -> None:
    assert tuned_tile(TilingConfig(96, 2), 320, 480, halo=16, multiple=1) == (96, 96)
    assert tuned_tile(TilingConfig(96, 2), 50, 480, halo=16, multiple=1) == (50, 96)
    assert tuned_tile(TilingConfig(90, 2), 320, 480, halo=16, multiple=8) == (96, 96)


def test_a_tiling_that_does_not_fit_the_picture_gives_none() -> None:
    assert tuned_tile(TilingConfig(96, 2), 90, 90, halo=16, multiple=1) is None  # one tile for two streams
    assert tuned_tile(TilingConfig(32, 1), 90, 90, halo=16, multiple=1) is None  # nothing between the halos


@given(st.integers(0, 60), st.integers(1, 8), cores)
def test_candidates_fit_into_memory_and_keep_something(halo: int, multiple: int, cores: int) -> None:
    tilings = candidate_tilings(halo=halo, multiple=multiple, cores=cores, limit=200_000)
    assert len(set(tilings)) == len(tilings)
    for config in tilings:
        assert config.streams * config.max_tile**2 <= 200_000
        assert cores % config.streams == 0
        assert config.max_tile % multiple == 0
        assert tuned_tile(config, 5000, 5000, halo=halo, multiple=multiple) is not None
