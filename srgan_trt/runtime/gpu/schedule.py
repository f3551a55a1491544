"""How a picture is cut for a GPU: windows, batches of them, and bands of the picture where memory is short.

Arithmetic only. No number here was measured on a GPU yet; each says what it was reasoned from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError
from ...imaging.tiles import Tile, TilePlan, window_count, window_size
from .launch_geometry import TILE_JOB

TILE = 256
"""Side of a window, unless its halo is large. A convolution of 64 channels on it is 4 G multiply-accumulates:
far more work than starting its kernels costs."""
_STEP = 64
"""Window sides grow in steps of this: as few engines as may be, and whole blocks of the matrix units."""
_FINE_STEP = 8
"""The same where memory is short."""
_SIDE_PER_HALO = 9
"""A window of nine halos keeps (1 - 2/9)^2 = 60 % of what it computes."""
_KEPT = 32
"""Pixels between a window's halos, at least."""
_EVEN = 8
"""Window sides are multiples of this many float16 values, 16 bytes: the widest access that a GPU has."""
_LARGEST_EVEN = 32
"""More than this on each side is not worth it."""
_WIDEST_ACCESS = 16
"""Bytes."""
_PIXELS_PER_MULTIPROCESSOR = 2048
"""Input pixels in flight at once in one batch: a window of 256 x 256 for each 32 multiprocessors. A convolution's
block makes some 128 pixels of some 64 channels, so each multiprocessor has 16 blocks to hide the last ones' idling."""


@dataclass(frozen=True, slots=True)
class Band:
    """Whole rows of tiles that go through the GPU together; rows are of the picture, and of its canvas / scale."""

    tiles: tuple[Tile, ...]
    top: int
    """First row of the picture that a window of these sees."""
    bottom: int
    """One past the last row that a window sees."""
    keep_top: int
    """First row that these tiles fill."""
    keep_bottom: int


def gpu_tile(
    height: int, width: int, *, halo: int, multiple: int, limit: int, largest: tuple[int, int] | None = None
) -> tuple[int, int]:
    """(height, width) of the windows for a picture of `height` x `width`, of which `plan_tiles` then takes the fewest.

    limit: the longest side of a window, which only a halo too large for it exceeds. Sides are multiples of `multiple`.
    largest: (height, width) that nothing exceeds, of an engine that was built before; None if there is no such bound.

    Raises DeviceError if `largest` leaves nothing to keep between two halos.
    """
    context, step = -(-halo // multiple), _even_step(multiple) // multiple
    units, least = max(1, limit // multiple), -(-(2 * context + -(-_KEPT // multiple)) // step) * step
    longest = max(_whole(units, step), least)
    windows = []
    for axis, length in enumerate((height, width)):
        side, most = -(-length // multiple), longest
        if largest is not None:
            units = largest[axis] // multiple
            most = min(longest, _whole(units, step) if _whole(units, step) > 2 * context else units)
            if side > most <= 2 * context:
                raise DeviceError(
                    f"the engine takes windows of at most {largest[1]} x {largest[0]} pixels, which keep nothing "
                    f"between two halos of {context * multiple}: build it with --tile "
                    f"{2 * context * multiple + _KEPT} or more, or use a smaller --halo"
                )
        window = window_size(side, window_count(side, most, context), context)
        windows.append(_even(window * multiple, side * multiple, multiple, most * multiple))
    return windows[0], windows[1]


def even_windows(
    tiles: TilePlan, *, multiple: int, pixel_bytes: int, largest: tuple[int, int] | None = None
) -> TilePlan:
    """`tiles` with windows that the kernels move 16 bytes at a time, and that are of few sizes: their sides are
    multiples of 8 and of `multiple`, where picture and engine are large enough. The context of what is kept only grows.

    pixel_bytes: of the canvas, for a pixel of the picture; multiple: as in NetworkSpec; largest: see `gpu_tile`.
    """
    tallest, widest = largest or (None, None)
    rows = {(tile.y, tile.keep_y, tile.keep_height) for tile in tiles.tiles}
    columns = {(tile.x, tile.keep_x, tile.keep_width) for tile in tiles.tiles}
    height, tall = _even_side(tiles.height, tiles.tile_height, sorted(rows), multiple, 1, tallest)
    # Cuts between columns where the canvas's 16 bytes begin, if its rows begin there.
    cut = _WIDEST_ACCESS // math.gcd(_WIDEST_ACCESS, pixel_bytes)
    cut = cut if tiles.width % cut == 0 else 1
    width, wide = _even_side(tiles.width, tiles.tile_width, sorted(columns), multiple, cut, widest)
    windows = tuple(
        Tile(y, x, keep_y, keep_x, keep_height, keep_width)
        for y, keep_y, keep_height in tall
        for x, keep_x, keep_width in wide
    )
    return TilePlan(tiles.height, tiles.width, height, width, windows)


def tile_side(halo: int) -> int:
    """The longest side of a window for this halo, where memory is not a matter."""
    return max(TILE, -(-_SIDE_PER_HALO * halo // _STEP) * _STEP)


def engine_side(length: int, limit: int, multiple: int, largest: int | None = None) -> int:
    """The side that an engine is built for so that windows of `length` fit: mostly `limit`, whatever the picture.

    largest: of an engine that was built before, which is what there is for windows that fit into it.
    """
    step = (_STEP if length > TILE else _FINE_STEP) * multiple
    side = limit // multiple * multiple if length <= limit else -(-length // step) * step
    return side if largest is None else max(length, min(side, largest))


def batch_size(area: int, multiprocessors: int) -> int:
    """Windows of `area` input pixels that fill a GPU."""
    return max(1, round(_PIXELS_PER_MULTIPROCESSOR * multiprocessors / area))


def first_cut(side: int, multiprocessors: int, *, smallest: int, pixel_bytes: int, limit: int) -> tuple[int, int]:
    """(side, batch) that fill a GPU, or less where they would need more than `limit` bytes; no side below `smallest`.

    pixel_bytes: for each input pixel of a batch, as far as it is known before an engine is built: a lower bound.
    """
    batch = batch_size(side**2, multiprocessors)
    while batch > 1 and batch * side**2 * pixel_bytes > limit:
        batch //= 2
    while side > smallest and side**2 * pixel_bytes > limit:
        side = max(smallest, side - _FINE_STEP)
    return side, batch


def even_batches(count: int, most: int) -> tuple[int, int]:
    """(number of batches, tiles in each) for `count` tiles, at most `most` in a batch.

    All are of one size, so that one CUDA graph does for all; the last ones may have a tile or two too few.
    """
    batches = -(-count // most)
    return batches, -(-count // batches)


def cut_bands(tiles: TilePlan, *, row_bytes: int, kept_row_bytes: int, limit: int) -> list[Band]:
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

    rows: of the table, at least as many as tiles; those left over see the first tile's window and write nothing.
    """
    table = np.zeros(rows, TILE_JOB)
    for job, tile in zip(table, tiles, strict=False):
        job["y"], job["x"] = tile.y - top, tile.x
        job["top"], job["left"] = (tile.keep_y - tile.y) * scale, (tile.keep_x - tile.x) * scale
        job["out_y"], job["out_x"] = (tile.keep_y - keep_top) * scale, tile.keep_x * scale
        job["out_height"], job["out_width"] = tile.keep_height * scale, tile.keep_width * scale
    table["y"][len(tiles) :], table["x"][len(tiles) :] = table["y"][0], table["x"][0]
    return table


def _even_step(multiple: int) -> int:
    step = math.lcm(_EVEN, multiple)
    return step if step <= _LARGEST_EVEN else multiple


def _whole(units: int, step: int) -> int:
    """Down to a multiple of `step`, unless that is nothing."""
    return units // step * step or units


def _even(window: int, length: int, multiple: int, most: int | None) -> int:
    """The window for a side of `length`, a multiple of `multiple`, made larger if that fits: see `even_windows`."""
    step = _even_step(multiple)
    wide = -(-window // step) * step
    return wide if window < length >= wide and (most is None or wide <= most) else window


def _even_side(
    length: int, window: int, spans: list[tuple[int, int, int]], multiple: int, cut: int, most: int | None
) -> tuple[int, list[tuple[int, int, int]]]:
    """Window size and (origin, first kept, number kept) of each window along one side, as in imaging/tiles.py."""
    units = -(-length // multiple)
    wide = _even(window, units * multiple, multiple, most)
    if len(spans) == 1 or (wide == window and cut == 1):
        return wide, spans
    context = min(min(keep - origin, before + window - keep) for (before, _, _), (origin, keep, _) in pairwise(spans))
    room, gaps = units - wide // multiple, len(spans) - 1
    origins = [index * room // gaps * multiple for index in range(len(spans))]
    middles = [(before + wide + origin) // 2 for before, origin in pairwise(origins)]
    cuts = [(middle + cut // 2) // cut * cut for middle in middles]
    if not _seen(origins, cuts, wide, context):
        # As far to the right as the context allows, one after another.
        moved, last, cuts = [0], origins[-1], []
        for _ in middles:
            cuts.append((moved[-1] + wide - context) // cut * cut)
            moved.append(min((cuts[-1] - context) // multiple * multiple, last))
        moved[-1] = last
        if _seen(moved, cuts, wide, context):
            origins = moved
        else:
            cuts = middles
    begins, ends = [0, *cuts], [*cuts, length]
    return wide, [(o, begin, end - begin) for o, begin, end in zip(origins, begins, ends, strict=True)]


def _seen(origins: Sequence[int], cuts: Sequence[int], window: int, context: int) -> bool:
    """Whether both windows at each cut see `context` beyond it, and keep something."""
    return all(
        origin + context <= cut <= before + window - context
        for (before, origin), cut in zip(pairwise(origins), cuts, strict=True)
    ) and all(one < other for one, other in pairwise([0, *cuts]))


def _rows(tiles: TilePlan) -> list[tuple[Tile, ...]]:
    rows: dict[int, list[Tile]] = {}
    for tile in tiles.tiles:
        rows.setdefault(tile.keep_y, []).append(tile)
    return [tuple(row) for _, row in sorted(rows.items())]


def _band(tiles: tuple[Tile, ...], plan: TilePlan) -> Band:
    # A window that leaves the picture sees its border repeated; the band's border is the picture's there.
    top = min(max(tile.y, 0) for tile in tiles)
    bottom = max(min(tile.y + plan.tile_height, plan.height) for tile in tiles)
    keep_bottom = max(tile.keep_y + tile.keep_height for tile in tiles)
    return Band(tiles, top, bottom, min(tile.keep_y for tile in tiles), keep_bottom)


def _bytes(band: Band, row_bytes: int, kept_row_bytes: int) -> int:
    return (band.bottom - band.top) * row_bytes + (band.keep_bottom - band.keep_top) * kept_row_bytes
