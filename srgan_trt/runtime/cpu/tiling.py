"""How a picture is tiled for a CPU: streams side by side on few cores each, or all cores on one tile.

Cores work best apart, each on tiles of its own, but every seam costs its halo twice, and each stream holds
activations of its own. The cheapest tiling within the memory limit is found by counting.
"""

from __future__ import annotations

import math

from ...imaging.tiles import tile_count, tile_size
from ..tuning import TilingConfig

_SHARING = 0.05
"""Cost of each further core on the same tile, as a part of one core's work: 3 to 5 % measured on two cores without AMX
(benchmarks/cpu_tiles.py); not measured on AMX yet."""
_KEPT = 32
"""Pixels between the halos of a tile, at least: with fewer its halo costs more than any memory is worth."""

_SIDES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512)
_LIKELY_SIDE = 128
_BATCHES = (2, 4)
_FEW = 2
"""Sides that batches are tried with: they stand for more work at a time, as larger tiles do."""


def _seconds(count: int, area: int, streams: int, cores: int) -> float:
    """Time of `count` tiles of `area` pixels, in units of one core's time for one pixel."""
    threads = cores // streams
    return -(-count // streams) * area * (1 + _SHARING * (threads - 1)) / threads


def _stream_counts(cores: int) -> list[int]:
    return [streams for streams in range(1, cores + 1) if cores % streams == 0]


def best_streams(count: int, area: int, *, cores: int, limit: int) -> int:
    """How many streams run `count` tiles of `area` pixels soonest; `limit`: pixels in flight at once."""
    fitting = [streams for streams in _stream_counts(cores) if streams * area <= limit] or [1]
    return min(fitting, key=lambda streams: _seconds(count, area, streams, cores))


def best_tile(height: int, width: int, *, halo: int, multiple: int, cores: int, limit: int) -> tuple[int, int]:
    """(height, width) of the tiles that make `height` x `width` pixels soonest.

    halo, multiple: as in `plan_tiles`; limit: pixels in flight at once, over all streams. Where even one
    tile with its halo is over the limit, the smallest tile is given.
    """
    rows, columns, context = (-(-n // multiple) for n in (height, width, halo))
    smallest = 2 * context + -(-_KEPT // multiple)
    best, best_seconds = (min(rows, smallest), min(columns, smallest)), float("inf")
    for streams in _stream_counts(cores):
        area = limit // streams // multiple**2
        for row_count in _counts(rows, context, smallest, 1):
            tile_height = tile_size(rows, row_count, context)
            widest = area // tile_height
            if widest < min(columns, smallest):
                continue
            fewest = tile_count(columns, widest, context)
            for column_count in _counts(columns, context, smallest, fewest)[:streams]:
                tile_width = tile_size(columns, column_count, context)
                seconds = _seconds(row_count * column_count, tile_height * tile_width, streams, cores)
                if seconds < best_seconds:
                    best, best_seconds = (tile_height, tile_width), seconds
    return best[0] * multiple, best[1] * multiple


def tuned_tile(config: TilingConfig, height: int, width: int, *, halo: int, multiple: int) -> tuple[int, int] | None:
    """(height, width) of the largest tiles of a tuned tiling; None where it gives fewer tiles than streams, or such as
    keep nothing."""
    rows, columns, context, side = (-(-n // multiple) for n in (height, width, halo, config.max_tile))
    if side <= 2 * context or tile_count(rows, side, context) * tile_count(columns, side, context) < config.streams:
        return None
    return min(rows, side) * multiple, min(columns, side) * multiple


def candidate_tilings(*, halo: int, multiple: int, cores: int, limit: int) -> list[TilingConfig]:
    """Tilings that are worth trying: sides about a quarter apart, for each number of streams; limit: as in `best_tile`.

    The most likely first: those around what a core's cache holds, with a stream for each core.
    """
    smallest = (2 * -(-halo // multiple) + -(-_KEPT // multiple)) * multiple
    sides = sorted({max(smallest, -(-side // multiple) * multiple) for side in _SIDES})
    likely = sorted(sides, key=lambda side: abs(math.log(side / _LIKELY_SIDE)))
    return [
        TilingConfig(side, streams, batch)
        for batch in (1, *_BATCHES)
        for streams in reversed(_stream_counts(cores))
        for side in (likely if batch == 1 else likely[:_FEW])
        if batch * streams * side**2 <= limit
    ]


def _counts(length: int, halo: int, smallest: int, fewest: int) -> range:
    """Numbers of tiles, at least `fewest`, that a side may have without tiles below `smallest`."""
    most = max(1, (length - 2 * halo) // (smallest - 2 * halo)) if length > smallest else 1
    return range(fewest, max(most, fewest) + 1)
