"""How a picture is tiled for a GPU: tiles, batches of them, and bands of the picture where memory is short.

Arithmetic only. No number here was measured on a GPU yet; each says what it was reasoned from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...compiler.live_memory import NetworkMemory
from ...errors import DeviceError
from ...imaging.tiles import Tile, TilePlan, tile_count, tile_size
from ...spec import NetworkSpec
from .launch_geometry import TILE_JOB

TILE = 1024
"""Longest side of a window, unless its halo is large: as one megapixel's tensors of 1024 values a pixel (64 channels at
four times the size) have half of the 2^31 values that TensorRT takes."""
WINDOWS = ((768, 1024), (600, 800), (560, 976), (536, 704), (720, 448), (480, 640), (432, 560))
"""(height, width) of windows for larger pictures. Few, because each costs TensorRT-RTX a compilation and each slot a
graph; found by search for those that cost 16 usual sizes of photos the least work with halos of 8 to 16 pixels
(benchmarks/gpu_windows.py). The second, third and sixth are usual sizes themselves, and 560 x 976 is for full HD."""
_WORTH_A_SHAPE = 1.25
"""Times the least work that one of `WINDOWS` may cost."""
_STEP = 64
"""Sides of tiles grow in steps of this: as few engines as may be, and whole blocks of the matrix units."""
_FINE_STEP = 8
"""The same where tiles are smaller than `TILE`, as memory is short then."""
_SIDE_PER_HALO = 9
"""A tile of nine halos keeps (1 - 2/9)^2 = 60 % of what it computes."""
KEPT = 32
"""Pixels between a tile's halos, at least."""
_EVEN = 8
"""Sides of tiles are multiples of this many float16 values, 16 bytes: the widest access that a GPU has."""
_LARGEST_EVEN = 32
"""More than this on each side is not worth it."""
_WIDEST_ACCESS = 16
"""Bytes."""
_MOST_VALUES = 1 << 31
"""Of a tensor in TensorRT."""
_PIXELS_PER_MULTIPROCESSOR = 2048
"""Input pixels in flight at once in one batch: a tile of 256 x 256 for each 32 multiprocessors. A convolution's
block makes some 128 pixels of some 64 channels, so each multiprocessor has 16 blocks to hide the last ones' idling."""


@dataclass(frozen=True, slots=True)
class Band:
    """Whole rows of tiles that go through the GPU together; rows are of the picture, and of its canvas / scale."""

    tiles: tuple[Tile, ...]
    top: int
    """First row of the picture that a tile of these sees."""
    bottom: int
    """One past the last row that a tile sees."""
    keep_top: int
    """First row that these tiles fill."""
    keep_bottom: int


def largest_tile(
    height: int, width: int, *, halo: int, multiple: int, limit: int, engine: tuple[int, int] | None = None
) -> tuple[int, int]:
    """(height, width) of the largest tile for a picture of `height` x `width`, in whole steps of what the kernels move.

    limit: the longest side, which only a halo too large for it exceeds. Sides are multiples of `multiple`.
    engine: (height, width) that nothing exceeds, of an engine that was built before; None if there is no such bound.

    Raises DeviceError if `engine` leaves nothing to keep between two halos.
    """
    context, step = -(-halo // multiple), even_step(multiple) // multiple
    longest = max(limit // multiple // step * step, -(-(2 * context + -(-KEPT // multiple)) // step) * step)
    if engine is None:
        return longest * multiple, longest * multiple
    sides = []
    for length, side in zip((height, width), engine, strict=True):
        units = side // multiple
        most = min(longest, units // step * step if units // step * step > 2 * context else units)
        if -(-length // multiple) > most <= 2 * context:
            raise DeviceError(
                f"the engine takes tiles of at most {engine[1]} x {engine[0]} pixels, which keep nothing between two "
                f"halos of {context * multiple}: build it with --tile {2 * context * multiple + KEPT} or more, or use "
                "a smaller --halo"
            )
        sides.append(most * multiple)
    return sides[0], sides[1]


def even_step(multiple: int) -> int:
    """What sides of tiles should be multiples of, for a network that wants multiples of `multiple`."""
    step = math.lcm(_EVEN, multiple)
    return step if step <= _LARGEST_EVEN else multiple


def seam_step(pixel_bytes: int) -> int:
    """Columns between places where 16 bytes of the canvas begin; pixel_bytes: of it, for a pixel of the picture."""
    return _WIDEST_ACCESS // math.gcd(_WIDEST_ACCESS, pixel_bytes)


def tile_side(halo: int) -> int:
    """The longest side of a tile for this halo, where memory is not a matter."""
    return max(TILE, -(-_SIDE_PER_HALO * halo // _STEP) * _STEP)


def engine_side(length: int, limit: int, multiple: int, largest: int | None = None) -> int:
    """The side that an engine is built for so that tiles of `length` fit: mostly `limit`, whatever the picture.

    largest: of an engine that was built before, which is what there is for tiles that fit into it.
    """
    step = (_STEP if length > TILE else _FINE_STEP) * multiple
    side = limit // multiple * multiple if length <= limit else -(-length // step) * step
    return side if largest is None else max(length, min(side, largest))


def batch_size(area: int, multiprocessors: int) -> int:
    """Tiles of `area` input pixels that fill a GPU."""
    return max(1, round(_PIXELS_PER_MULTIPROCESSOR * multiprocessors / area))


def largest_engine(spec: NetworkSpec, network: NetworkMemory, *, memory: float) -> int:
    """The longest side of tiles that engines are built for, on a GPU of `memory` bytes: less than `tile_side` where
    building would take more than half of them, or a tensor would have more values than TensorRT counts."""
    bytes_each = 2 * (3 * (1 + spec.scale**2) + network.live)
    area = min(memory / 2 / bytes_each, _MOST_VALUES / max(1.0, network.largest))
    side, smallest = tile_side(spec.default_halo), 2 * spec.default_halo + KEPT
    while side > smallest and side**2 > area:
        side = max(smallest, side - _STEP)
    return side


def choose_tile(
    height: int,
    width: int,
    *,
    halo: int,
    multiple: int,
    limit: int,
    pixels: int,
    engine: tuple[int, int] | None = None,
) -> tuple[tuple[int, int], bool]:
    """(height, width) of the tiles for a picture, and whether they are exactly that, and not the largest.

    The whole picture where it fits, else that of `WINDOWS` which costs the least work, unless others cost far less.

    limit, engine: as in `largest_tile`. pixels: that a tile may have, for want of memory.
    """
    tallest, widest = engine or (limit, limit)
    rows, columns = (-(-length // multiple) * multiple for length in (height, width))
    if rows <= tallest and columns <= widest and rows * columns <= pixels:
        return (height, width), False
    side = min(limit, math.isqrt(pixels))
    exact = largest_tile(height, width, halo=halo, multiple=multiple, limit=side, engine=engine)
    step = even_step(multiple)
    found = None
    least = _WORTH_A_SHAPE * _work(height, width, exact, halo, shrink=True)
    for window in WINDOWS:
        tile = (window[0] // step * step, window[1] // step * step)
        fits = tile[0] <= min(tallest, height) and tile[1] <= min(widest, width) and tile[0] * tile[1] <= pixels
        if fits and min(tile) >= 2 * -(-halo // multiple) * multiple + KEPT:
            work = _work(height, width, tile, halo)
            if work <= least:
                found, least = tile, work
    return (exact, False) if found is None else (found, True)


def _work(height: int, width: int, tile: tuple[int, int], halo: int, *, shrink: bool = False) -> int:
    """Pixels in tiles of `tile`, or in as many smaller ones that do."""
    total = 1
    for length, side in zip((height, width), tile, strict=True):
        count = tile_count(length, side, halo)
        total *= count * (tile_size(length, count, halo) if shrink else side)
    return total


def even_batches(count: int, most: int) -> int:
    """Tiles in each batch for `count` tiles, at most `most`: of what fills a GPU at least by half, that which leaves
    the fewest places of the last batch empty. All batches are of one size, so that one CUDA graph does for all."""
    if count <= most:
        return count
    return min(range(most, most // 2, -1), key=lambda each: -(-count // each) * each)


def plan_bands(tiles: TilePlan, *, row_bytes: int, kept_row_bytes: int, limit: int) -> list[Band]:
    """The fewest bands of whole rows of tiles, from the top, with at most `limit` bytes each; at least one row each.

    row_bytes: of a row of the picture; kept_row_bytes: of the canvas, for a row of the picture.
    """
    bands: list[Band] = []
    rows = _rows(tiles)
    band = _band(rows[0], tiles)
    for row in rows[1:]:
        larger = _band(band.tiles + row, tiles)
        if _bytes(larger, row_bytes, kept_row_bytes) <= limit:
            band = larger
        else:
            bands.append(band)
            band = _band(row, tiles)
    return [*bands, band]


def largest_band(bands: Iterable[Band], *, row_bytes: int, kept_row_bytes: int) -> int:
    """Bytes of picture and canvas that the largest of `bands` takes."""
    return max(_bytes(band, row_bytes, kept_row_bytes) for band in bands)


def job_table(tiles: Sequence[Tile], *, rows: int, scale: int, top: int, keep_top: int) -> NDArray[np.void]:
    """The kernels' table for `tiles`; the picture and the canvas begin at rows `top` and `keep_top` of the whole one.

    rows: of the table, at least as many as tiles; those left over see what the first tile sees and write nothing.
    """
    table = np.zeros(rows, TILE_JOB)
    for job, tile in zip(table, tiles, strict=False):
        job["y"], job["x"] = tile.y - top, tile.x
        job["top"], job["left"] = (tile.keep_y - tile.y) * scale, (tile.keep_x - tile.x) * scale
        job["out_y"], job["out_x"] = (tile.keep_y - keep_top) * scale, tile.keep_x * scale
        job["out_height"], job["out_width"] = tile.keep_height * scale, tile.keep_width * scale
    table["y"][len(tiles) :], table["x"][len(tiles) :] = table["y"][0], table["x"][0]
    return table


def _rows(tiles: TilePlan) -> list[tuple[Tile, ...]]:
    rows: dict[int, list[Tile]] = {}
    for tile in tiles.tiles:
        rows.setdefault(tile.keep_y, []).append(tile)
    return [tuple(row) for _, row in sorted(rows.items())]


def _band(tiles: tuple[Tile, ...], plan: TilePlan) -> Band:
    # A tile that leaves the picture sees its border repeated; the band's border is the picture's there.
    top = min(max(tile.y, 0) for tile in tiles)
    bottom = max(min(tile.y + plan.tile_height, plan.height) for tile in tiles)
    keep_bottom = max(tile.keep_y + tile.keep_height for tile in tiles)
    return Band(tiles, top, bottom, min(tile.keep_y for tile in tiles), keep_bottom)


def _bytes(band: Band, row_bytes: int, kept_row_bytes: int) -> int:
    return (band.bottom - band.top) * row_bytes + (band.keep_bottom - band.keep_top) * kept_row_bytes
