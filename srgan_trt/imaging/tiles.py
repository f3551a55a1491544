"""Tile plans: which part of a picture each run of the network sees, and which part of the result is kept.

A tile has `halo` pixels of context around the part that is kept, so that seams do not show (with the whole
receptive field as halo: do not exist). Tiles at the picture's edge are aligned to the edge: the network's own
zero padding stays where it would be without tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Tile:
    """What one run sees and the part of the picture it fills; everything in input pixels of the picture."""

    y: int
    """Row where the tile begins; it may leave the picture, `pack` then repeats the border."""
    x: int
    keep_y: int
    """First row of the part of the picture that this tile's output fills."""
    keep_x: int
    keep_height: int
    keep_width: int


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Tiles of one size whose kept parts partition a picture of `height` x `width`."""

    height: int
    width: int
    tile_height: int
    """Of every tile."""
    tile_width: int
    tiles: tuple[Tile, ...]
    """In reading order."""

    @property
    def tile_area(self) -> int:
        """Input pixels that one run of the network sees."""
        return self.tile_height * self.tile_width


def tile_count(length: int, tile: int, halo: int) -> int:
    """Tiles of `tile` pixels that a side of `length` pixels needs, `halo` of context between them."""
    return 1 if length <= tile else -(-(length - 2 * halo) // (tile - 2 * halo))


def tile_size(length: int, count: int, halo: int) -> int:
    """Smallest tile of which `count` cover `length` pixels, `halo` of context between them."""
    return -(-(length + 2 * halo * (count - 1)) // count)


def plan_tiles(
    height: int,
    width: int,
    *,
    tile: tuple[int, int],
    halo: int,
    fixed: bool = False,
    multiple: int = 1,
    even: int = 1,
    align: int = 1,
    largest: tuple[int, int] | None = None,
) -> TilePlan:
    """The fewest tiles of at most `tile` (height, width) for a picture, as small as that number allows.

    halo: context between a kept pixel and any side of a tile that is not the picture's edge; at least this.
    fixed: tiles are exactly `tile`; on a smaller picture they leave it at the bottom and the right.
    multiple: sides and origins of tiles are multiples of this (a network that downscales inside sees the
    same grid in every tile); `tile` is rounded up to it, and tiles may leave the picture at the bottom and
    the right by less than it.
    even: a multiple of `multiple`; where there are several tiles, their sides grow to multiples of this, beyond `tile`
    if need be, where picture and `largest` (height, width; None: no bound) leave room. The context only grows by it.
    Not for `fixed` tiles.
    align: kept columns begin at multiples of this, where the width is one and the halo allows it.

    Raises ValueError if a size is below 1, or if `tile` leaves nothing to keep between two halos of a
    picture larger than it.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels has no tiles")
    if tile[0] < 1 or tile[1] < 1 or halo < 0 or multiple < 1:
        raise ValueError(f"tile {tile[0]} x {tile[1]}, halo {halo} and multiple {multiple} are not usable together")
    tallest, widest = largest or (None, None)
    even, align = 1 if fixed else even, align if width % align == 0 else 1
    tile_height, rows = _plan_side(height, tile[0], halo, fixed, multiple, even, 1, tallest)
    tile_width, columns = _plan_side(width, tile[1], halo, fixed, multiple, even, align, widest)
    tiles = tuple(
        Tile(y, x, keep_y, keep_x, keep_height, keep_width)
        for y, keep_y, keep_height in rows
        for x, keep_x, keep_width in columns
    )
    return TilePlan(height, width, tile_height, tile_width, tiles)


def _plan_side(
    length: int, tile: int, halo: int, fixed: bool, multiple: int, even: int, align: int, most: int | None
) -> tuple[int, list[tuple[int, int, int]]]:
    """Size of tiles, and per tile (origin, first kept, number kept), of one side of the picture.

    Counted in units of `multiple`, so that origins and sizes are multiples of it.
    """
    units, tile_units, halo_units = (-(-n // multiple) for n in (length, tile, halo))
    if units > tile_units <= 2 * halo_units:
        raise ValueError(
            f"a tile of {tile_units * multiple} pixels keeps nothing between two halos of {halo_units * multiple}: "
            f"use a tile above {2 * halo_units * multiple}"
        )
    count = tile_count(units, tile_units, halo_units)
    size = tile_units if fixed else tile_size(units, count, halo_units)
    if count == 1:
        return size * multiple, [(0, 0, length)]
    origins, seams = _spread(units, size, count, multiple)
    context = halo_units * multiple if fixed else _context(origins, seams, size * multiple)
    grown = -(-size * multiple // even) * even // multiple
    if size < grown <= units and (most is None or grown * multiple <= most):
        size = grown
        origins, seams = _spread(units, size, count, multiple)
    if align > 1:
        origins, seams = _aligned(origins, seams, size * multiple, context, multiple, align)
    begins, ends = [0, *seams], [*seams, length]
    return size * multiple, [(o, b, e - b) for o, b, e in zip(origins, begins, ends, strict=True)]


def _spread(units: int, size: int, count: int, multiple: int) -> tuple[list[int], list[int]]:
    """Origins of `count` tiles of `size` units, and the seams between them: in the middle of the overlap of two tiles,
    so that the context is more than the halo where there is room."""
    origins = [i * (units - size) // (count - 1) * multiple for i in range(count)]
    return origins, [(before + after + size * multiple) // 2 for before, after in pairwise(origins)]


def _context(origins: list[int], seams: list[int], size: int) -> int:
    """The least that a tile of `size` pixels sees beyond a seam."""
    gaps = zip(pairwise(origins), seams, strict=True)
    return min(min(seam - after, before + size - seam) for (before, after), seam in gaps)


def _aligned(
    origins: list[int], seams: list[int], size: int, context: int, multiple: int, align: int
) -> tuple[list[int], list[int]]:
    """Origins and seams with the seams at multiples of `align`; as they are where `context` does not allow that."""
    nearest = [(seam + align // 2) // align * align for seam in seams]
    # As far to the right as the context allows, one after another.
    moved, right = [0], list[int]()
    for _ in seams:
        right.append((moved[-1] + size - context) // align * align)
        moved.append(min((right[-1] - context) // multiple * multiple, origins[-1]))
    moved[-1] = origins[-1]
    for starts, found in ((origins, nearest), (moved, right)):
        if _context(starts, found, size) >= context and all(one < other for one, other in pairwise([0, *found])):
            return starts, found
    return origins, seams
