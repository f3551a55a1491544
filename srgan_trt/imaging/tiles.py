"""Tile plans: which window of a picture each run of the network sees, and which part of the result is kept.

A tile's window carries `halo` pixels of context around the part that is kept, so that seams do not show
(with the whole receptive field as halo: do not exist). Windows at the picture's edge are aligned to the
edge: the network's own zero padding stays where it would be without tiles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tile:
    """One window and the part of the picture it fills; everything in input pixels of the picture."""

    y: int
    """Row where the window begins; the window may leave the picture, `pack` then repeats the border."""
    x: int
    keep_y: int
    """First row of the part of the picture that this tile's output fills."""
    keep_x: int
    keep_height: int
    keep_width: int


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Windows of one size whose kept parts partition a picture of `height` x `width`."""

    height: int
    width: int
    tile_height: int
    """Height of every window."""
    tile_width: int
    tiles: tuple[Tile, ...]
    """In reading order."""


def window_count(length: int, tile: int, halo: int) -> int:
    """Windows of `tile` pixels that a side of `length` pixels needs, `halo` of context between them."""
    return 1 if length <= tile else -(-(length - 2 * halo) // (tile - 2 * halo))


def window_size(length: int, count: int, halo: int) -> int:
    """Smallest window of which `count` cover `length` pixels, `halo` of context between them."""
    return -(-(length + 2 * halo * (count - 1)) // count)


def plan_tiles(
    height: int, width: int, *, tile: tuple[int, int], halo: int, fixed: bool = False, multiple: int = 1
) -> TilePlan:
    """The fewest windows of at most `tile` (height, width) for a picture, as small as that number allows.

    halo: context between a kept pixel and any window side that is not the picture's edge; at least this.
    fixed: windows are exactly `tile`; on a smaller picture they leave it at the bottom and the right.
    multiple: window sides and origins are multiples of this (a network that downscales inside sees the
    same grid in every window); `tile` is rounded up to it, and windows may leave the picture at the
    bottom and the right by less than it.

    Raises ValueError if a size is below 1, or if `tile` leaves nothing to keep between two halos of a
    picture larger than it.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels has no tiles")
    if tile[0] < 1 or tile[1] < 1 or halo < 0 or multiple < 1:
        raise ValueError(f"tile {tile[0]} x {tile[1]}, halo {halo} and multiple {multiple} are not usable together")
    tile_height, rows = _plan_side(height, tile[0], halo, fixed, multiple)
    tile_width, columns = _plan_side(width, tile[1], halo, fixed, multiple)
    tiles = tuple(
        Tile(y, x, keep_y, keep_x, keep_height, keep_width)
        for y, keep_y, keep_height in rows
        for x, keep_x, keep_width in columns
    )
    return TilePlan(height, width, tile_height, tile_width, tiles)


def _plan_side(length: int, tile: int, halo: int, fixed: bool, multiple: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Window size, and per window (origin, first kept, number kept), of one side of the picture.

    Counted in units of `multiple` throughout, so that origins and sizes are multiples of it.
    """
    units, tile_units, halo_units = (-(-n // multiple) for n in (length, tile, halo))
    if units > tile_units <= 2 * halo_units:
        raise ValueError(
            f"a tile of {tile_units * multiple} pixels keeps nothing between two halos of {halo_units * multiple}: "
            f"use a tile above {2 * halo_units * multiple}"
        )
    count = window_count(units, tile_units, halo_units)
    size = tile_units if fixed else window_size(units, count, halo_units)
    if count == 1:
        return size * multiple, [(0, 0, length)]
    origins = [i * (units - size) // (count - 1) * multiple for i in range(count)]
    # The cut lies in the middle of the overlap of two windows: more than the halo where there is room.
    cuts = [(here + there + size * multiple) // 2 for here, there in zip(origins[1:], origins[:-1], strict=True)]
    begins, ends = [0, *cuts], [*cuts, length]
    return size * multiple, [(o, b, e - b) for o, b, e in zip(origins, begins, ends, strict=True)]
