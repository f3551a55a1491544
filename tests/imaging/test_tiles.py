"""Tile plans keep their promises for any picture, tile, halo and multiple."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan_trt.imaging.tiles import TilePlan, plan_tiles

sides = st.integers(1, 90)
halos = st.integers(0, 9)
multiples = st.integers(1, 5)


def paint(plan: TilePlan) -> np.ndarray:
    """How many tiles fill each pixel of the picture."""
    painted = np.zeros((plan.height, plan.width), int)
    for t in plan.tiles:
        assert t.keep_y >= 0
        assert t.keep_x >= 0
        painted[t.keep_y : t.keep_y + t.keep_height, t.keep_x : t.keep_x + t.keep_width] += 1
    return painted


def plan_of(height: int, width: int, inner: tuple[int, int], halo: int, fixed: bool, multiple: int) -> TilePlan:
    """A plan whose tile keeps at least `inner` between its halos."""
    context = 2 * -(-halo // multiple) * multiple
    tile = (inner[0] + context, inner[1] + context)
    return plan_tiles(height, width, tile=tile, halo=halo, fixed=fixed, multiple=multiple)


any_plan = st.builds(
    plan_of, sides, sides, st.tuples(st.integers(1, 40), st.integers(1, 40)), halos, st.booleans(), multiples
)


@given(any_plan)
def test_the_kept_parts_partition_the_picture(plan: TilePlan) -> None:
    assert (paint(plan) == 1).all()


@given(sides, sides, st.integers(1, 40), halos, st.booleans(), multiples)
def test_every_kept_pixel_has_its_halo_inside_the_window_or_the_picture_ends(
    height: int, width: int, inner: int, halo: int, fixed: bool, multiple: int
) -> None:
    plan = plan_of(height, width, (inner, inner), halo, fixed, multiple)
    for t in plan.tiles:
        for length, window, size, keep, kept in (
            (height, t.y, plan.tile_height, t.keep_y, t.keep_height),
            (width, t.x, plan.tile_width, t.keep_x, t.keep_width),
        ):
            assert kept >= 1
            assert window == 0 or keep - window >= halo
            assert window + size >= length or window + size - (keep + kept) >= halo
            assert window <= keep
            assert keep + kept <= window + size


@given(sides, sides, st.integers(1, 40), halos, st.booleans(), multiples)
def test_tiles_are_aligned_to_the_edges_and_no_larger_than_asked(
    height: int, width: int, inner: int, halo: int, fixed: bool, multiple: int
) -> None:
    plan = plan_of(height, width, (inner, inner), halo, fixed, multiple)
    asked = -(-inner // multiple) * multiple + 2 * -(-halo // multiple) * multiple
    for length, size, origins in (
        (height, plan.tile_height, sorted({t.y for t in plan.tiles})),
        (width, plan.tile_width, sorted({t.x for t in plan.tiles})),
    ):
        rounded = -(-length // multiple) * multiple
        assert origins[0] == 0
        assert all(origin % multiple == 0 for origin in origins)
        assert size % multiple == 0
        if fixed:
            assert size == asked
            assert origins[-1] + size == max(rounded, size)
        else:
            assert size <= asked
            assert origins[-1] + size == rounded


@given(st.integers(1, 5000), st.integers(1, 400), st.integers(0, 50))
def test_no_smaller_window_would_cover_the_picture(length: int, inner: int, halo: int) -> None:
    plan = plan_tiles(length, 1, tile=(inner + 2 * halo, 1), halo=halo)
    count, size = len(plan.tiles), plan.tile_height
    assert count == 1 or count * (size - 1) - 2 * halo * (count - 1) < length


def test_a_small_picture_is_one_window_of_its_own_size() -> None:
    plan = plan_tiles(7, 30, tile=(64, 64), halo=40)
    assert (plan.tile_height, plan.tile_width) == (7, 30)
    assert len(plan.tiles) == 1


def test_a_small_picture_leaves_the_window_of_a_fixed_network() -> None:
    plan = plan_tiles(7, 30, tile=(64, 64), halo=40, fixed=True)
    assert (plan.tile_height, plan.tile_width) == (64, 64)
    assert [(t.y, t.x, t.keep_height, t.keep_width) for t in plan.tiles] == [(0, 0, 7, 30)]


def test_tiles_are_balanced() -> None:
    """100 rows in tiles of 64 with a halo of 4: two tiles of 54, not one of 64 and a sliver."""
    plan = plan_tiles(100, 10, tile=(64, 64), halo=4)
    assert (plan.tile_height, [t.y for t in plan.tiles]) == (54, [0, 46])
    assert [t.keep_height for t in plan.tiles] == [50, 50]


def test_planning_a_large_picture_is_cheap() -> None:
    started = time.perf_counter()
    plan = plan_tiles(9_000, 12_000, tile=(128, 128), halo=20)
    assert time.perf_counter() - started < 1.0
    assert sum(t.keep_height * t.keep_width for t in plan.tiles) == 9_000 * 12_000


def test_a_tile_without_room_between_its_halos_is_refused() -> None:
    with pytest.raises(ValueError, match="use a tile above 80"):
        plan_tiles(200, 200, tile=(64, 64), halo=40)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_picture_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has no tiles"):
        plan_tiles(*size, tile=(64, 64), halo=4)


def spans(plan: TilePlan, axis: str) -> list[tuple[int, int, int]]:
    """(origin, first kept, number kept) of each row or column of tiles."""
    length = "height" if axis == "y" else "width"
    found = {(getattr(t, axis), getattr(t, f"keep_{axis}"), getattr(t, f"keep_{length}")) for t in plan.tiles}
    return sorted(found)


@pytest.mark.parametrize("size", [(1080, 1920), (720, 1280), (500, 301), (77, 800), (240, 241), (13, 9), (260, 300)])
@pytest.mark.parametrize(("halo", "multiple", "even"), [(10, 1, 8), (12, 1, 8), (20, 4, 8), (4, 7, 7), (0, 1, 8)])
@pytest.mark.parametrize("tile", [65, 120, 256])
def test_even_tiles_keep_what_the_plan_promises(
    size: tuple[int, int], halo: int, multiple: int, even: int, tile: int
) -> None:
    """The picture is filled once, every kept pixel has its context, the network's own padding stays at the border."""
    options = {"tile": (tile, tile), "halo": halo, "multiple": multiple}
    plan, grown = plan_tiles(*size, **options), plan_tiles(*size, **options, even=even, align=4)
    assert len(grown.tiles) == len(plan.tiles)
    for axis, length, side, before in (
        ("y", size[0], grown.tile_height, plan.tile_height),
        ("x", size[1], grown.tile_width, plan.tile_width),
    ):
        found = spans(grown, axis)
        assert side == before or (side % even == 0 and before < side < length + multiple)
        assert [keep for _, keep, _ in found] == [0, *(keep + kept for _, keep, kept in found[:-1])]
        assert sum(kept for _, _, kept in found) == length
        context = -(-halo // multiple) * multiple
        for number, (origin, keep, kept) in enumerate(found):
            assert kept > 0
            assert origin % multiple == 0
            assert origin == 0 if number == 0 else keep - origin >= context
            if number == len(found) - 1:
                assert 0 <= origin + side - length < multiple
            else:
                assert origin + side - keep - kept >= context


def test_even_tiles_stay_within_the_largest() -> None:
    options = {"tile": (60, 60), "halo": 6}
    plan, grown = plan_tiles(500, 500, **options), plan_tiles(500, 500, **options, even=8, largest=(60, 70))
    assert (plan.tile_height, plan.tile_width) == (57, 57)
    assert (grown.tile_height, grown.tile_width) == (57, 64)


def test_fixed_tiles_are_as_they_are() -> None:
    options = {"tile": (57, 57), "halo": 6, "fixed": True}
    assert plan_tiles(500, 500, **options, even=8) == plan_tiles(500, 500, **options)


def test_seams_of_fixed_tiles_are_aligned_within_the_halo() -> None:
    plan = plan_tiles(500, 500, tile=(64, 64), halo=6, fixed=True, align=4)
    assert (plan.tile_height, plan.tile_width) == (64, 64)
    for tile in plan.tiles:
        assert tile.keep_x % 4 == 0
        assert tile.x == 0 or tile.keep_x - tile.x >= 6
        end = tile.keep_x + tile.keep_width
        assert end == 500 or tile.x + 64 - end >= 6
